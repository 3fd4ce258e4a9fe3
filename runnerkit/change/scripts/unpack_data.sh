# Unpacks a tar stream from standard input beside a data-root, and touches nothing else.
# Arguments: the data-root, how many bytes the data will take.
set -eu
data=$1 need=$(($2 / 1024))
incoming=$data.incoming former=$data.before-import
if ! tar --version 2>/dev/null | grep -q 'GNU tar'; then
    echo "the host's tar cannot keep extended attributes; GNU tar can" >&2
    exit 1
fi
if mountpoint -q -- "$data"; then
    echo "$data is a mount point, so nothing can take its place" >&2
    exit 1
fi
if [ -e "$former" ]; then
    echo "$former is left from an earlier import; delete it first" >&2
    exit 1
fi
rm -rf -- "$incoming"
room=$(df -Pk -- "$(dirname -- "$data")" | awk 'END { print $(NF - 2) }')
if [ "$need" -gt "$room" ]; then
    echo "$((need / 1024)) MiB do not fit beside $data: $((room / 1024)) MiB are free there" >&2
    exit 1
fi
mkdir -m 700 -- "$incoming"
if ! tar --extract --file=- --directory="$incoming" --preserve-permissions \
    --numeric-owner --acls --xattrs --xattrs-include='*'; then
    rm -rf -- "$incoming"
    exit 1
fi
cat >/dev/null
sync -f -- "$incoming" 2>/dev/null || sync
