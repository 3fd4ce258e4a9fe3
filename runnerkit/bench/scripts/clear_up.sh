# Arguments: the folder, the runner's socket, the host's. Removes the images and what the
# comparison added to the build caches; a record that another one needs goes in a later pass.
folder=$1 runner=$2 host=$3
forget() {
    docker -H "unix://$2" image ls --quiet --filter label=runnerkit.bench | sort -u |
        while read -r image; do docker -H "unix://$2" image rm --force "$image" >/dev/null; done
    for _ in 1 2 3 4 5; do
        added=$(cache_ids "$2" | comm -13 "$folder/$1.before" - | grep . || true)
        [ -n "$added" ] || break
        for id in $added; do
            docker -H "unix://$2" builder prune --all --force --filter "id=$id" >/dev/null 2>&1 || true
        done
    done
}
forget runner "$runner"
forget host "$host"
rm -rf -- "$folder"
