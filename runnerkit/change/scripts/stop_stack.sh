# Argument: the stack's directory.
set -eu
cd -- "$1"
exec docker compose down --remove-orphans
