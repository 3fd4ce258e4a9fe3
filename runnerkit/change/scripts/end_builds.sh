# Arguments: socket directory, container id. Ends the runner, then the steps that it left behind.
set -eu
docker kill "$2" >/dev/null
docker -H "unix://$1/docker.sock" ps --quiet --filter label=io.drone=true |
    while read -r step; do docker -H "unix://$1/docker.sock" rm --force "$step" >/dev/null; done
