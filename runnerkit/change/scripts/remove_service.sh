# Arguments: the stack's directory, the service, which is in a profile of the same name.
set -eu
cd -- "$1"
exec docker compose --profile "$2" rm --stop --force -- "$2"
