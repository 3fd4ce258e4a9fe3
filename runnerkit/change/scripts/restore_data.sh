# Takes an import back. Argument: the data-root; the daemon is stopped.
set -eu
data=$1
if [ -d "$data.before-import" ]; then
    if [ -d "$data" ]; then
        rm -rf -- "$data.incoming"
        mv -T -- "$data" "$data.incoming"
    fi
    mv -T -- "$data.before-import" "$data"
fi
rm -rf -- "$data.incoming"
