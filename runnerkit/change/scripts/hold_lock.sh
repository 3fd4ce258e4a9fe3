# Holds the host's lock for as long as standard input stays open: the kernel gives it back when
# this process ends, and the end of the connection ends it. Each line of the input is a sign of life.
# Arguments: the folder of the lock, a token, a line about the owner.
# Answers: `held`; or `taken`, its age, seconds since the last sign of life, the line about its owner.
# Before `held` there may be `waiting`: something that an earlier command began is still at work.
umask 022
if [ "$(id -u)" != 0 ]; then
    echo "not root"
    exit 0
fi
if ! command -v flock >/dev/null; then
    echo "no flock"
    exit 0
fi
folder=$1 token=$2 owner=$3
mkdir -p -- "$folder" || exit 1
umask 077
exec 9>>"$folder/.lock" || exit 1
if ! flock -n 9; then
    now=$(date +%s)
    since=$(stat -c %Y -- "$folder/.holder" 2>/dev/null)
    beat=$(stat -c %Y -- "$folder/.beat" 2>/dev/null)
    printf 'taken\t%s\t%s\t%s\n' "$((now - ${since:-now}))" "$((now - ${beat:-now}))" \
        "$(sed -n 3p "$folder/.holder" 2>/dev/null)"
    exit 0
fi
exec 8>>"$folder/.work" || exit 1
if ! flock -n 8; then
    echo waiting
    flock 8
fi
: >"$folder/.beat"
printf '%s\n%s\n%s\n' "$token" "$$" "$owner" >"$folder/.holder.new"
mv -f -- "$folder/.holder.new" "$folder/.holder"
exec 8>&-
echo held
while read -r _; do : >"$folder/.beat"; done
rm -f -- "$folder/.holder" "$folder/.beat"
