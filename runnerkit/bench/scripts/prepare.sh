# Arguments: the runner's socket, the host's. Standard input: a tar archive with the folder
# context, the Dockerfile and daemon.json. Answers with the folder that was made.
folder=$(mktemp -d /var/tmp/runnerkit-bench-XXXXXXXX)
trap 'rm -rf -- "$folder"' EXIT
tar -C "$folder" --no-same-owner -xzf -
sed -E 's/--mount=type=cache[^[:space:]]*//g' "$folder/Dockerfile" >"$folder/Dockerfile.plain"
docker buildx version >/dev/null
cache_ids "$1" >"$folder/runner.before"
cache_ids "$2" >"$folder/host.before"
trap - EXIT
echo "$folder"
