# Arguments: the stack's directory, then the services; none is all. The containers stay, so that
# their logs do.
set -eu
cd -- "$1"
shift
exec docker compose stop -- "$@"
