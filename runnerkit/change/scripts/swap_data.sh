# Puts what was unpacked in place of the data-root, which stays as `before-import`.
# Arguments: the stack's directory, the data-root; the daemon is stopped.
set -eu
stack=$1 data=$2
# First of all the note: whatever happens between the two renames, clear_up knows what to put back.
printf %s "$data.before-import" >"$stack/data-kept"
mv -T -- "$data" "$data.before-import"
mv -T -- "$data.incoming" "$data"
