# Arguments: the stack's directory, then the services; none is all. Says of each that is not well
# what it said itself.
set -eu
cd -- "$1"
shift
docker compose ps --all --quiet -- "$@" | while read -r container; do
    state=$(docker inspect --format \
        '{{.State.Status}}{{with .State.Health}}, {{.Status}}{{end}}{{with .State.Error}}: {{.}}{{end}}' "$container")
    # What was never started has nothing to say.
    case $state in "running, healthy" | created) continue ;; esac
    service=$(docker inspect --format '{{index .Config.Labels "com.docker.compose.service"}}' "$container")
    printf '%s is %s; its last lines:\n' "$service" "$state"
    docker logs --tail 10 "$container" 2>&1
done
