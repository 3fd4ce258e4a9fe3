#!/bin/sh
# Generated from runnerkit/change/scripts; do not edit.
# Arguments: socket directory, container id. The marker comes first: a runner that got the signal
# twice would kill its builds, so a lost signal is the smaller harm.
set -eu
marker=$1/draining
if [ "$(cat "$marker" 2>/dev/null)" != "$2" ]; then
    mkdir -p -- "$1"
    printf %s "$2" >"$marker"
    # One that only keeps restarting cannot be signalled, and has nothing to finish.
    docker kill --signal TERM "$2" >/dev/null 2>&1 || docker stop "$2" >/dev/null
fi
docker inspect --format '{{.State.Running}}' "$2" 2>/dev/null || echo gone
