# Arguments: socket directory, container id. The marker comes first: a runner that got the signal
# twice would kill its builds, so a lost signal is the smaller harm.
set -eu
marker=$1/draining
if [ "$(cat "$marker" 2>/dev/null)" != "$2" ]; then
    # A process 1 that has not said yet what it does on a signal never gets it. The runner says so
    # before it listens, so a healthy one can be signalled, and so can one that does not come up.
    state='{{.State.Running}} {{.RestartCount}} {{with .State.Health}}{{.Status}}{{end}}'
    if [ "$(docker inspect --format "$state" "$2" 2>/dev/null)" = 'true 0 starting' ]; then
        echo true
        exit
    fi
    mkdir -p -- "$1"
    printf %s "$2" >"$marker"
    # One that only keeps restarting cannot be signalled, and has nothing to finish.
    docker kill --signal TERM "$2" >/dev/null 2>&1 || docker stop "$2" >/dev/null
fi
docker inspect --format '{{.State.Running}}' "$2" 2>/dev/null || echo gone
