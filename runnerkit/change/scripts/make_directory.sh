# Arguments: a directory, its mode.
set -eu
mkdir -p -- "$1"
chown root:root -- "$1"
chmod "$2" -- "$1"
