# Argument: the stack's directory. For what changed nothing that the history would tell.
rm -f -- "$1/journal.json"
