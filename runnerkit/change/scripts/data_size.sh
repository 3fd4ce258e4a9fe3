# Argument: a data-root. Prints how many bytes it takes; what vanishes meanwhile does not matter.
kib=$(du -sk -- "$1" 2>/dev/null | cut -f 1)
echo "$((${kib:-0} * 1024))"
