set -eu
export DOCKER_BUILDKIT=1

# Arguments: socket, the folder of the comparison, Dockerfile, file to change or "", tag, options.
build() {
    socket=$1 folder=$2 dockerfile=$3 changed=$4 tag=$5
    shift 5
    # One empty line more is a change for every cache and for hardly any compiler.
    if [ -n "$changed" ]; then echo >>"$folder/context/$changed"; fi
    if ! docker -H "unix://$socket" buildx build --progress plain --file "$folder/$dockerfile" \
        --label runnerkit.bench= --tag "$tag" "$@" "$folder/context" >"$folder/log" 2>&1; then
        tail -n 5 "$folder/log" >&2
        exit 1
    fi
}

milliseconds() { echo "$(($(date +%s%N) / 1000000))"; }

# Argument: socket. The ids of all records of its build cache.
cache_ids() {
    docker -H "unix://$1" system df --verbose --format '{{range .BuildCache}}{{.ID}}
{{end}}' | sort
}
