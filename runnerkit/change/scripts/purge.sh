# Arguments: what to delete.
set -eu
rm -rf -- "$@"
