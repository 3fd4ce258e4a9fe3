# Starts a throw-away engine that shares nothing with the stack's own. On standard input: its
# daemon.json. Arguments: image, container name, a folder for its socket and daemon.json.
# One that a lost connection left behind has the same name, and goes first.
set -eu
docker rm --force --volumes "$2" >/dev/null 2>&1 || :
mkdir -p -- "$3"
cat >"$3/daemon.json"
exec docker run --detach --name "$2" --label runnerkit.trial=1 --privileged --network none \
    --volume "$3:/run/trial" --volume /var/lib/docker \
    "$1" dockerd --config-file=/run/trial/daemon.json \
    --host=unix:///var/run/docker.sock --host=unix:///run/trial/docker.sock
