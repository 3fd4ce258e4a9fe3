#!/bin/sh
# Generated from runnerkit/change/apply.py; do not edit.
set -eu
marker=$1/draining
if [ "$(cat "$marker" 2>/dev/null)" != "$2" ]; then
    mkdir -p -- "$1"
    printf %s "$2" >"$marker"
    # One that only keeps restarting cannot be signalled, and has nothing to finish.
    docker kill --signal TERM "$2" >/dev/null 2>&1 || docker stop "$2" >/dev/null
fi
docker inspect --format '{{.State.Running}}' "$2" 2>/dev/null || echo gone
