# BuildKit's history of builds in dind. Changes nothing.
# Arguments: dind's container, its socket on the host; then builds to tell more of, none for a list.
# Answer: `asked`, then a JSON object for each build; or, for each one named, a line `build REF`, a
# JSON object, and of its log the steps that mount something and those that came from the cache.
container=$1 socket=$2
shift 2
for docker in "docker exec $container docker" "docker -H unix://$socket"; do
    # A docker buildx before 0.21 prints another help instead, and calls that a success.
    $docker buildx history ls --help 2>/dev/null | grep -q 'buildx history ls' || continue
    echo asked
    if [ "$#" = 0 ]; then $docker buildx history ls --format json 2>/dev/null; fi
    for ref in "$@"; do
        echo "build $ref"
        $docker buildx history inspect --format json "$ref" 2>/dev/null | tr -d '\n'
        echo
        $docker buildx history logs --progress plain "$ref" 2>&1 |
            grep -E '^#[0-9]+ (\[.*--mount=|CACHED)' | cut -c 1-2000
    done
    exit 0
done
