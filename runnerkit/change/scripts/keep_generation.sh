# Keeps the files in force as a generation, for whoever put them there one by one.
# Arguments: the stack's directory, the generation's number, how many to keep, the number of files,
# their names, then the images that they name. After generations.sh.
set -eu
umask 077
directory=$1 number=$2 keep=$3 count=$4
shift 4
clean
mkdir -p -- "$directory/generations/.new"
while [ "$count" -gt 0 ]; do
    cp -p -- "$directory/$1" "$directory/generations/.new/"
    shift
    count=$((count - 1))
done
name_images "$@"
keep_as "$number"
forget_old "$keep"
