# Arguments: the folder, the daemon's image, file to change, tag, options. Answers with the
# milliseconds of the daemon's start and the build; the clearing away is not counted.
folder=$1 image=$2 changed=$3 tag=$4
shift 4
name=runnerkit-bench-${folder##*-}
trap 'docker rm --force --volumes "$name" >/dev/null 2>&1; rm -rf -- "$folder/sockets"' EXIT
began=$(milliseconds)
docker run --detach --privileged --name "$name" --volume "$folder/sockets:/bench" \
    --volume "$folder/daemon.json:/etc/docker/daemon.json:ro" "$image" dockerd \
    --host=unix:///var/run/docker.sock --host=unix:///bench/docker.sock >/dev/null
until docker -H "unix://$folder/sockets/docker.sock" version >/dev/null 2>&1; do
    if [ "$(docker inspect --format '{{.State.Running}}' "$name")" != true ]; then
        docker logs --tail 5 "$name" >&2
        exit 1
    fi
    sleep 0.1
done
build "$folder/sockets/docker.sock" "$folder" Dockerfile "$changed" "$tag" "$@"
echo "$(($(milliseconds) - began))"
