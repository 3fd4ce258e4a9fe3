# Argument: the stack's directory. The containers stay, so that their logs do.
set -eu
cd -- "$1"
exec docker compose stop
