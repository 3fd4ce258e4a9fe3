#!/bin/sh
# Generated from runnerkit/change/scripts; do not edit.
# Arguments: the stack's directory, socket directory, seconds, then the services; none is all.
set -eu
cd -- "$1"
rm -f -- "$2/draining"
seconds=$3
shift 3
if [ "$#" = 0 ]; then set -- --remove-orphans; else set -- -- "$@"; fi
exec docker compose up --detach --no-build --wait --wait-timeout "$seconds" "$@"
