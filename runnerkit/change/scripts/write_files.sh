# Arguments: the stack's directory, the generation's number, how many to keep, the digest of the
# archive, then the images that the files name. Standard input: a tar archive of all files.
# After generations.sh.
set -eu
umask 077
directory=$1 number=$2 keep=$3 digest=$4
shift 4
clean
new=$directory/generations/.new
mkdir -p -- "$new"
cat >"$new/.archive"
# A connection that breaks looks like the end of the input: only a whole archive counts.
arrived=$(sha256sum <"$new/.archive")
if [ "${arrived%% *}" != "$digest" ]; then
    clean
    echo "the files did not arrive whole" >&2
    exit 1
fi
tar -C "$new" --no-same-owner -xpf "$new/.archive"
rm -f -- "$new/.archive"
name_images "$@"
keep_as "$number"
switch_to "$number"
forget_old "$keep"
