# The GC rules that dind's BuildKit runs, then its log's last GC errors. Changes nothing.
# Arguments: dind's container, its socket on the host, the time since which its log counts.
# The daemon tells its rules to any client of BuildKit: the one in its image, else the host's.
container=$1 socket=$2 since=$3
docker exec "$container" docker buildx inspect default 2>/dev/null ||
    docker -H "unix://$socket" buildx inspect default 2>/dev/null ||
    echo unanswered
echo 'gc errors:'
docker logs --since "$since" "$container" 2>&1 | grep -F 'gc error' | tail -n 3
