# Argument: an image of a Docker daemon. Answers its version, as the program in it says.
set -eu
docker run --rm --network none --entrypoint dockerd -- "$1" --version |
    sed -n 's/^Docker version \([^,]*\).*/\1/p'
