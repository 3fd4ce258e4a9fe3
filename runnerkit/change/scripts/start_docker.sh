# Argument: seconds to wait for the engine's first answer.
set -eu
if [ -d /run/systemd/system ]; then
    systemctl enable --now docker
else
    service docker start
fi
deadline=$(($(date +%s) + $1))
until docker version --format '{{.Server.Version}}' >/dev/null 2>&1; do
    if [ "$(date +%s)" -ge "$deadline" ]; then
        docker version --format '{{.Server.Version}}'
        exit 1
    fi
    sleep 0.2
done
