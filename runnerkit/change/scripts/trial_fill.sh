# Fills a throw-away engine with layers and one cache mount. Needs no network and no image: the
# builds run on what the engine's own image has of a shell.
# Arguments: container name, number of builds, KiB of each layer, KiB of the cache mount.
set -eu
exec docker exec --interactive --env DOCKER_BUILDKIT=1 "$1" sh -s -- "$2" "$3" "$4" <<'INSIDE'
set -eu
mkdir -p /tmp/trial/root/bin /tmp/trial/context
cd /tmp/trial
for program in sh head; do
    path=$(command -v "$program")
    cp -L "$path" "root/bin/$program"
    for library in $(ldd "$path" | grep -o '/[^ )]*'); do
        mkdir -p "root$(dirname "$library")"
        cp -L "$library" "root$library"
    done
done
tar -C root -cf - . | docker import - trial-base >/dev/null
cat >Dockerfile <<DOCKERFILE
FROM trial-base
ARG build
RUN --mount=type=cache,id=trial,target=/cache : \$build; head -c ${3}k /dev/urandom >/cache/content
RUN head -c ${2}k /dev/urandom >/layer
DOCKERFILE
build=0
while [ "$build" -lt "$1" ]; do
    build=$((build + 1))
    image=$(docker build --quiet --file Dockerfile --build-arg "build=$build" context)
    # The layers of an image that is still there count as the image's.
    docker image rm "$image" >/dev/null
done
INSIDE
