"""Measuring what `tune` advises from. Reads only."""

from __future__ import annotations

from runnerkit.reach.transport import Transport
from runnerkit.tuning.measured import Probed, parse_probe

# Arguments: dind's container, the stack's directory. Answer: lines "key value".
# Control groups of version 2 first, then version 1; inside dind they are dind's own.
PROBE = """
container=$1 stack=$2
first() {
    for file in "$@"; do
        if [ -r "$file" ]; then cat "$file"; return; fi
    done
}
echo "memory_limit $(first /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes)"
if [ -r /sys/fs/cgroup/cpu.max ]; then
    echo "cpu_limit $(cat /sys/fs/cgroup/cpu.max)"
else
    echo "cpu_limit $(first /sys/fs/cgroup/cpu/cpu.cfs_quota_us)" \
        "$(first /sys/fs/cgroup/cpu/cpu.cfs_period_us)"
fi
docker exec "$container" sh -c '
    for file in /sys/fs/cgroup/memory.peak /sys/fs/cgroup/memory/memory.max_usage_in_bytes; do
        if [ -r "$file" ]; then echo "memory_peak $(cat "$file")"; break; fi
    done
    for file in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
        if [ -r "$file" ]; then sed -n "s/^oom_kill /oom_kills /p" "$file"; break; fi
    done
    docker buildx history ls --format json 2>/dev/null | sed "s/^/build /"
' 2>/dev/null
if [ -r "$stack/janitor/evictions" ]; then
    echo evictions
    sed 's/^/evicted /' "$stack/janitor/evictions"
fi
if [ -r "$stack/janitor/cache" ]; then sed 's/^/cache /' "$stack/janitor/cache"; fi
if [ -r "$stack/janitor/stages" ]; then sed 's/^/stages /' "$stack/janitor/stages"; fi
exit 0
"""


def collect_probe(transport: Transport, container: str, directory: str) -> Probed:
    """Limits, peaks, build history and how many stages ran at once; None is what nobody tells."""
    completed = transport.run(["sh", "-s", "--", container, directory], PROBE.encode())
    return parse_probe(completed.stdout.decode(errors="replace"))
