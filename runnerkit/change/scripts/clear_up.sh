# Argument: the stack's directory. After generations.sh.
set -eu
directory=$1
clean
rm -f -- "$directory/.journal.new"
# An import that ended between its two renames left no data-root at all.
kept=$(cat -- "$directory/data-kept" 2>/dev/null) || true
data=${kept%.before-import}
if [ "$data" != "$kept" ] && [ -d "$kept" ] && [ ! -e "$data" ]; then mv -T -- "$kept" "$data"; fi
