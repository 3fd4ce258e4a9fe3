#!/bin/sh
# Generated from runnerkit/change/apply.py; do not edit.
set -eu
cd -- "$1"
rm -f -- "$2/draining"
seconds=$3
shift 3
exec docker compose up --detach --no-build --wait --wait-timeout "$seconds" -- "$@"
