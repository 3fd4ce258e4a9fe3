# Makes a new generation of an old one's files, and its images' tags what they were then.
# Arguments: the stack's directory, the old number, the new one, how many to keep. Standard input:
# the new manifest. After generations.sh.
set -eu
umask 077
directory=$1 old=$2 number=$3 keep=$4
clean
new=$directory/generations/.new
cp -pR -- "$directory/generations/$old" "$new"
cat >"$new/.manifest"
if [ "$(wc -l <"$new/.manifest")" -lt 2 ] || [ "$(tail -n 1 "$new/.manifest")" != "}" ]; then
    clean
    echo "the manifest did not arrive whole" >&2
    exit 1
fi
chmod 0644 "$new/.manifest"
mv -f -- "$new/.manifest" "$new/manifest.json"
while read -r ref id; do
    case $ref in *@*) continue ;; esac
    if docker image inspect "$id" >/dev/null 2>&1; then docker tag "$id" "$ref"; fi
done <"$new/images"
keep_as "$number"
switch_to "$number"
forget_old "$keep"
