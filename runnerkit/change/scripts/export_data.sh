# Argument: the data-root; the daemon is stopped. Prints it as a tar stream.
set -eu
if ! tar --version 2>/dev/null | grep -q 'GNU tar'; then
    echo "the host's tar cannot keep extended attributes; GNU tar can" >&2
    exit 1
fi
exec tar --create --file=- --directory="$1" --format=posix --sparse \
    --numeric-owner --acls --xattrs --xattrs-include='*' .
