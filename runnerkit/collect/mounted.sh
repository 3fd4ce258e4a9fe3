# The stack's files as its running containers see them. Changes nothing.
# Arguments, four for each: the service, the file's name, the container's pid, the path in it.
# Answer: lines of tab-separated fields: service, name, digest, Unix time of the last write.
while [ "$#" -gt 3 ]; do
    file=/proc/$3/root$4
    if [ -f "$file" ] && sum=$(sha256sum <"$file"); then
        printf '%s\t%s\t%s\t%s\n' "$1" "$2" "${sum%% *}" "$(stat -c %Y -- "$file")"
    fi
    shift 4
done
