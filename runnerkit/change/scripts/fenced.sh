# Runs one program for the owner of the lock, and for nobody who has lost it. Only one such program
# runs at a time, even where an earlier one outlives its connection.
# Arguments: the folder of the lock, the owner's token, the program's text, its arguments.
folder=$1 token=$2 program=$3
shift 3
exec 8>>"$folder/.work" || exit 1
flock 8 || exit 1
if [ "$(sed -n 1p "$folder/.holder" 2>/dev/null)" != "$token" ]; then exit 75; fi
# A daemon that the program starts must not hold on to the lock.
sh -c "$program" sh "$@" 8>&-
