# Brings a data-root to another place; the daemon is stopped. Prints "done-bytes total-bytes" lines.
# Arguments: the stack's directory, the old data-root, the new one.
# On one filesystem it is a rename. Otherwise a copy, compared with the old one, which stays; only a
# whole copy gets the new name.
set -eu
stack=$1 old=$2 new=$3
incoming=$new.incoming
# A copy of ours that an earlier attempt did not get to use.
if [ "$(cat "$stack/data-moving" 2>/dev/null)" = "$new" ]; then rm -rf -- "$new"; fi
rm -rf -- "$incoming"
if [ -d "$new" ]; then rmdir -- "$new"; fi
mkdir -p -- "$(dirname -- "$new")"
if [ "$(stat -c %d -- "$old")" = "$(stat -c %d -- "$(dirname -- "$new")")" ] &&
    ! mountpoint -q -- "$old"; then
    mv -- "$old" "$new"
    exit 0
fi
if ! cp --version 2>/dev/null | grep -q GNU; then
    echo "the host's cp cannot copy extended attributes; GNU coreutils can" >&2
    exit 1
fi
total=$(du -sk -- "$old" | cut -f 1)
room=$(df -Pk -- "$(dirname -- "$new")" | awk 'END { print $(NF - 2) }')
if [ "$total" -gt "$room" ]; then
    echo "$((total / 1024)) MiB do not fit: $((room / 1024)) MiB are free there" >&2
    exit 1
fi
printf %s "$new" >"$stack/data-moving"
mkdir -m "$(stat -c %a -- "$old")" -- "$incoming"
cp -a --preserve=xattr -- "$old/." "$incoming/" &
copying=$!
while kill -0 "$copying" 2>/dev/null; do
    left=$(df -Pk -- "$incoming" | awk 'END { print $(NF - 2) }')
    echo "$(((room - left) * 1024)) $((total * 1024))"
    sleep 1
done
wait "$copying"
list() {
    # Sizes of directories differ between filesystems; a socket's number of bytes means nothing.
    (cd -- "$1" && find . \( -type f -printf '%y %m %U %G %s %T@ %n %P %l\n' \) -o \
        \( ! -type f -printf '%y %m %U %G %P %l\n' \)) | sort | sha256sum
}
if [ "$(list "$old")" != "$(list "$incoming")" ]; then
    rm -rf -- "$incoming"
    echo "the copy is not like the original; was something still writing to it?" >&2
    exit 1
fi
sync -- "$incoming" 2>/dev/null || sync
mv -- "$incoming" "$new"
printf %s "$old" >"$stack/data-kept"
