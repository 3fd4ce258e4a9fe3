# The GC rules that dind's BuildKit runs, then its log's last GC errors. Changes nothing.
# Arguments: dind's container, its socket on the host, the time since which its log counts.
# The daemon tells its rules to any client of BuildKit: the one in its image, else the host's.
container=$1 socket=$2 since=$3
# A plugin is a program of its own: neither a container's exec nor docker's search for all plugins
# has to be waited for.
pid=$(docker inspect --format '{{.State.Pid}}' "$container" 2>/dev/null)
# shellcheck disable=SC2016
nsenter --target "$pid" --mount --net sh -c '
    for folder in /usr/local/lib /usr/local/libexec /usr/lib /usr/libexec; do
        plugin=$folder/docker/cli-plugins/docker-buildx
        if [ -x "$plugin" ]; then exec "$plugin" inspect default; fi
    done
    exec docker buildx inspect default' 2>/dev/null ||
    docker -H "unix://$socket" buildx inspect default 2>/dev/null ||
    echo unanswered
echo 'gc errors:'
docker logs --since "$since" "$container" 2>&1 | grep -F 'gc error' | tail -n 3
