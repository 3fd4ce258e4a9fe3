# Arguments: the stack's directory, socket directory, seconds, then the services; none is all.
set -eu
cd -- "$1"
rm -f -- "$2/draining"
seconds=$3
shift 3
# A power cut in the middle of compose leaves a container that was made, renamed or not, and never
# started; compose then trips over its name. It holds nothing.
docker compose ps --all --quiet --status created | while read -r unfinished; do
    docker rm -- "$unfinished" >/dev/null
done
if [ "$#" = 0 ]; then set -- --remove-orphans; else set -- -- "$@"; fi
# What has to end first may take its time; only then do the seconds count. They are ours to count, as
# compose's own limit begins after it has sat out the start period of a service that others wait for.
docker compose up --no-start --no-build "$@"
timeout -k 10 "$seconds" docker compose up --detach --no-build --wait "$@" || {
    code=$?
    if [ "$code" = 124 ]; then echo "not healthy within $seconds s" >&2; fi
    exit "$code"
}
