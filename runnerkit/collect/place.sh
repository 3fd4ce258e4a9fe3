# The part of a data-root that its daemon does not tell. Changes nothing. Argument: the data-root.
# Answer: bytes of container logs, then bytes free on the disk as BuildKit counts them (with those
# that are reserved for root).
find "$1/containers" -name '*-json.log*' -exec stat -c %s {} + 2>/dev/null |
    awk '{ sum += $1 } END { printf "%.0f\n", sum }'
stat -f -c '%f %S' -- "$1" | awk '{ printf "%.0f\n", $1 * $2 }'
