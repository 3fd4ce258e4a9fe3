# Arguments: the stack's directory, one line about the step that begins.
set -eu
umask 077
if [ ! -d "$1" ]; then
    mkdir -p -- "$1"
    chmod 0750 -- "$1"
fi
printf '%s\n' "$2" >"$1/.journal.new"
sync -- "$1/.journal.new" 2>/dev/null || sync
mv -f -- "$1/.journal.new" "$1/journal.json"
