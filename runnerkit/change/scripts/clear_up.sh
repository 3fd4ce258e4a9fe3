# Argument: the stack's directory. After generations.sh.
set -eu
directory=$1
clean
rm -f -- "$directory/.journal.new"
