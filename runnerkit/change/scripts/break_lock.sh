# Ends the process that holds the lock; what it had begun may still finish, and is waited for.
# Argument: the folder of the lock. Answers: `free`, or `ended` and the line about the owner.
set -eu
folder=$1
process=$(sed -n 2p "$folder/.holder" 2>/dev/null || true)
owner=$(sed -n 3p "$folder/.holder" 2>/dev/null || true)
if [ -z "$process" ] || [ "$(readlink "/proc/$process/fd/9" 2>/dev/null)" != "$folder/.lock" ]; then
    echo free
    exit 0
fi
# A shell waits in `read`; it ends at once, and its lock with it.
kill -KILL "$process"
rm -f -- "$folder/.holder" "$folder/.beat"
printf 'ended\t%s\n' "$owner"
