#!/bin/sh
# Generated from runnerkit/change/scripts; do not edit.
# Functions about $directory/generations/N: whole sets of files, each made aside and then renamed.

# What an earlier attempt left.
clean() { rm -rf -- "$directory/.incoming" "$directory/generations/.new"; }

# fsync of a whole folder; an old `sync` takes no names and writes everything back.
flush() { find "$1" -exec sync -- {} + 2>/dev/null || sync; }

# Arguments: references. A tag may move later; what it meant in this generation stays on record.
name_images() {
    for ref in "$@"; do
        printf '%s %s\n' "$ref" "$(docker image inspect --format '{{.Id}}' "$ref")"
    done >"$directory/generations/.new/images"
}

# Arguments: a number. The folder generations/.new becomes that generation.
keep_as() {
    flush "$directory/generations/.new"
    rm -rf -- "$directory/generations/$1"
    mv -- "$directory/generations/.new" "$directory/generations/$1"
    flush "$directory/generations/$1"
}

# Arguments: a number. Its files become the ones in force, one rename each, the manifest last: as
# long as the manifest is the old one, the switch did not happen.
switch_to() {
    cp -pR -- "$directory/generations/$1" "$directory/.incoming"
    rm -f -- "$directory/.incoming/images"
    flush "$directory/.incoming"
    for file in "$directory/.incoming"/* "$directory/.incoming"/.[!.]*; do
        case $file in */manifest.json) continue ;; esac
        if [ -f "$file" ]; then mv -f -- "$file" "$directory/"; fi
    done
    sync -- "$directory" 2>/dev/null || sync
    mv -f -- "$directory/.incoming/manifest.json" "$directory/"
    rmdir -- "$directory/.incoming"
    sync -- "$directory" 2>/dev/null || sync
}

# Arguments: how many to keep. The newest stay.
forget_old() {
    for kept in "$directory/generations"/*; do basename -- "$kept"; done |
        grep -x '[0-9]*' | sort -rn | tail -n "+$(($1 + 1))" |
        while read -r old; do rm -rf -- "${directory:?}/generations/$old"; done
}

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
