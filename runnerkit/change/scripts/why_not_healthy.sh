# Arguments: the stack's directory, then the services. Says of each that is not well what it said.
set -eu
cd -- "$1"
shift
for service in "$@"; do
    docker compose ps --all --quiet -- "$service" | while read -r container; do
        state=$(docker inspect --format \
            '{{.State.Status}}{{with .State.Health}}, {{.Status}}{{end}}{{with .State.Error}}: {{.}}{{end}}' "$container")
        if [ "$state" = "running, healthy" ]; then continue; fi
        printf '%s is %s; its last lines:\n' "$service" "$state"
        docker logs --tail 10 "$container" 2>&1
    done
done
