"""What can go wrong with a runner, one thing at a time: how to break it, and what mends it.

Shell lines run on the host. `$dind`, `$runner` and `$janitor` are the containers, `$pid` is the
process of dind, `$way` its address; `inner` is docker against dind, `in_dind` enters its network.
"""

from __future__ import annotations

from dataclasses import dataclass

SETTINGS = """
dind=runnerkit-main-dind-1 runner=runnerkit-main-runner-1 janitor=runnerkit-main-janitor-1
stack=/srv/runnerkit/main data=/data/main
inner() { docker -H unix:///run/runnerkit/main/docker.sock "$@"; }
ask() { docker inspect --format "$1" "$2"; }
in_dind() { nsenter --net="/proc/$(ask '{{.State.Pid}}' $dind)/ns/net" "$@"; }
way() { ask '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' $dind; }
# Docker hands a pid to a restarted container a moment after the old one has ended.
slay() {
    kill -9 "$1"
    while [ -d "/proc/$1" ] || [ "$(ask "{{.State.Pid}}" "$2")" -eq 0 ]; do :; done
}
"""


@dataclass(frozen=True)
class Fault:
    """One way to break a healthy host.

    `expected` are the checks that must turn red, with their status, and no others. A step of
    `mends` is shell, or a command of runnerkit in a tuple: what the hint names is what is run.
    """

    id: str
    expected: dict[str, str]
    hint: str
    breaks: str
    mends: tuple[Step, ...]


Step = str | tuple[str, ...]
UP = ("up", "sick", "--yes")
# A container made by hand, of a compose file that sed has changed.
BY_HAND = "docker compose --file - up --detach --wait --no-deps"
AS_WRITTEN = "cd $stack && docker compose up --detach --wait --no-deps"

FAULTS = (
    Fault(
        "dind-stopped",
        {"dind": "fail"},
        "runnerkit up sick",
        "docker stop --time 20 $dind",
        ("docker start $dind",),
    ),
    Fault(
        "dockerd-killed",
        {"dind": "warn"},
        "runnerkit logs sick dind",
        "slay $(ask '{{.State.Pid}}' $dind) $dind",
        ("docker restart --time 20 $dind",),
    ),
    Fault(
        "inner-socket-gone",
        {"dind-api": "fail"},
        "runnerkit logs sick dind",
        "mv /run/runnerkit/main/docker.sock /run/runnerkit/main/away",
        ("mv /run/runnerkit/main/away /run/runnerkit/main/docker.sock",),
    ),
    Fault(
        "outer-socket-gone",
        {"engine": "fail"},
        "systemctl restart docker",
        "mv /run/docker.sock /run/away.sock",
        ("mv /run/away.sock /run/docker.sock",),
    ),
    Fault(
        "no-compose",
        {"compose": "fail"},
        "docker-compose",
        "cd /usr/libexec/docker/cli-plugins && mv docker-compose away-compose",
        ("cd /usr/libexec/docker/cli-plugins && mv away-compose docker-compose",),
    ),
    Fault(
        "another-architecture",
        {"platform": "fail"},
        "x86_64",
        "printf '#!/bin/sh\\necho riscv64\\n' >/usr/local/bin/uname; chmod +x /usr/local/bin/uname",
        ("rm /usr/local/bin/uname",),
    ),
    Fault(
        "clock-behind",
        {"clock": "fail"},
        "timedatectl set-ntp true",
        "printf '#!/bin/sh\\necho $(($(/bin/date +%%s) - 900))\\n' >/usr/local/bin/date; "
        "chmod +x /usr/local/bin/date",
        ("rm /usr/local/bin/date",),
    ),
    Fault(
        "no-memory",
        {"memory": "fail"},
        "docker.memory",
        "sed 's/^MemAvailable:.*/MemAvailable: 1024 kB/' /proc/meminfo >/tmp/meminfo; "
        "mount --bind /tmp/meminfo /proc/meminfo",
        ("umount /proc/meminfo",),
    ),
    Fault(
        "swap-used-up",
        {"memory": "warn"},
        "runner.capacity",
        "awk '/^MemTotal:/ { all = $2 } /^MemAvailable:/ { $2 = int(all / 5) } "
        "/^SwapTotal:/ { $2 = 1048576 } /^SwapFree:/ { $2 = 1024 } 1' /proc/meminfo >/tmp/meminfo; "
        "mount --bind /tmp/meminfo /proc/meminfo",
        ("umount /proc/meminfo",),
    ),
    Fault(
        "disk-full",
        {"disk-space": "fail"},
        "du -xh /data",
        "fallocate -l $(($(df -kP /data | awk 'END { print $4 }') - 8192))K /data/much",
        ("rm /data/much",),
    ),
    Fault(
        "inodes-used-up",
        {"inodes": "fail"},
        "du -x --inodes /data",
        "mkdir /data/many && cd /data/many && "
        "seq $(($(df -iP /data | awk 'END { print $4 }') - 100)) | xargs -n 8000 touch",
        ("rm -r /data/many",),
    ),
    Fault(
        "file-edited",
        {"files": "warn"},
        "runnerkit plan sick",
        'sed -i \'s/"shutdown-timeout": 30/"shutdown-timeout": 31/\' $stack/daemon.json',
        (UP,),
    ),
    Fault(
        "secret-readable",
        {"secret-files": "fail"},
        "runnerkit up sick",
        "chmod 644 $stack/runner.env",
        (UP,),
    ),
    Fault(
        "layers-stored-whole",
        {"storage-driver": "fail"},
        "leave docker.storage_driver out",
        "cd $stack && sed 's|- --host=unix:///var/.*|&\\n      - --storage-driver=vfs|' "
        f"compose.yml | {BY_HAND} dind",
        (f"{AS_WRITTEN} dind",),
    ),
    Fault(
        "data-root-in-an-anonymous-volume",
        {"data-root": "fail"},
        "docker rm -f runnerkit-main-dind-1; then runnerkit up sick",
        "cd $stack && sed '0,/target: .var.lib.docker$/s//target: \\/elsewhere/' "
        f"compose.yml | {BY_HAND} --renew-anon-volumes dind",
        ("docker rm --force --volumes $dind", UP),
    ),
    Fault(
        "data-root-moved",
        {"data-root": "fail"},
        "docker restart runnerkit-main-dind-1",
        "mv $data /data/gone && mkdir $data",
        ("rmdir $data && mv /data/gone $data",),
    ),
    Fault(
        "second-daemon",
        {"one-daemon": "fail"},
        "docker stop thief",
        "docker run --detach --rm --name thief --volume $data:/var/lib/docker --entrypoint sleep "
        "docker:28-dind infinity",
        ("docker stop --time 0 thief",),
    ),
    Fault(
        "killed-for-memory",
        {"oom": "warn"},
        "runner.step_memory",
        "inner run --rm --memory 8m debian:trixie-slim sh -c 'tail /dev/zero; :'",
        ("docker restart --time 20 $dind",),
    ),
    Fault(
        "leftovers",
        {"leftovers": "warn"},
        "runnerkit docker sick -- volume rm drone-old",
        # The janitor must not be faster.
        "kill -STOP $(ask '{{.State.Pid}}' $janitor); "
        "inner volume create --label io.drone.expires=1 drone-old",
        ("inner volume rm drone-old; kill -CONT $(ask '{{.State.Pid}}' $janitor)",),
    ),
    Fault(
        "no-networks-left",
        {"address-pools": "fail"},
        "network prune",
        # Six of the seven that are left.
        "inner network create --subnet 10.231.0.32/27 four; "
        "inner network create --subnet 10.231.0.16/28 two",
        ("inner network prune --force",),
    ),
    Fault(
        "narrow-way",
        {"mtu": "fail"},
        "set docker.mtu: 1400",
        "in_dind ip link set eth0 mtu 1400",
        ("in_dind ip link set eth0 mtu 1500",),
    ),
    Fault(
        "no-way-out",
        {"egress": "fail"},
        "iptables -S FORWARD",
        "iptables -I FORWARD -s $(way) -j DROP",
        ("iptables -D FORWARD -s $(way) -j DROP",),
    ),
    Fault(
        "no-names",
        {"dns": "fail"},
        "docker.dns",
        "iptables -I FORWARD -s $(way) -p udp --dport 53 -j DROP",
        ("iptables -D FORWARD -s $(way) -p udp --dport 53 -j DROP",),
    ),
    Fault(
        "mirror-down",
        {"mirror": "fail"},
        "take it out of docker.mirrors",
        "iptables -I FORWARD -s $(way) -p tcp --dport 5000 -j REJECT --reject-with tcp-reset",
        ("iptables -D FORWARD -s $(way) -p tcp --dport 5000 -j REJECT --reject-with tcp-reset",),
    ),
    Fault(
        "chains-flushed",
        {"firewall": "fail"},
        "docker restart runnerkit-main-dind-1",
        "docker exec $dind sh -c 'iptables -t nat -F; iptables -F; iptables -t nat -X; "
        "iptables -X'; inner network create one-more || :",
        ("docker restart --time 20 $dind",),
    ),
    Fault(
        "api-floor",
        {"runner-api": "fail"},
        "docker.image to docker:28-dind",
        # What engines 29.0 to 29.2 do by themselves.
        "cd $stack && sed 's/DOCKER_MIN_API_VERSION: .*/DOCKER_MIN_API_VERSION: \"1.44\"/' "
        f"compose.yml | {BY_HAND} dind",
        (f"{AS_WRITTEN} dind",),
    ),
    Fault(
        "runner-in-a-loop",
        {"runner": "fail"},
        "runnerkit logs sick runner",
        "for n in 1 2 3; do slay $(ask '{{.State.Pid}}' $runner) $runner; done",
        ("docker restart --time 0 $runner",),
    ),
    Fault(
        "gc-rules-that-fail",
        {"gc-policy": "fail", "gc-errors": "fail"},
        "docker restart runnerkit-main-dind-1",
        # The daemon has read what its file, by its content and by its time, never held.
        "cd $stack && cp -p daemon.json /tmp/good && sed -i 's/type=regular/type==regular/' "
        "daemon.json && docker restart --time 20 $dind && "
        "until inner version; do :; done && cp -p /tmp/good daemon.json",
        ("docker restart --time 20 $dind",),
    ),
    Fault(
        "no-sweep-for-an-hour",
        {"clean-up": "warn"},
        "runnerkit logs sick janitor",
        "kill -STOP $(ask '{{.State.Pid}}' $janitor); "
        'sed -i "s/^swept_at .*/swept_at $(($(date +%s) - 3600))/" $stack/janitor/report',
        ("docker restart --time 0 $janitor",),
    ),
    Fault(
        "janitor-without-walls",
        {"isolation": "fail"},
        "runnerkit up sick",
        f"cd $stack && sed 's/cap_drop: .ALL.//' compose.yml | {BY_HAND} janitor",
        (UP,),
    ),
    Fault(
        "janitor-stopped",
        {"janitor": "fail"},
        "runnerkit up sick",
        "docker stop --time 0 $janitor",
        ("docker start $janitor",),
    ),
    Fault(
        "too-many-stages",
        {"slots": "warn"},
        "ps --filter label=io.drone",
        "for n in 1 2 3; do inner run --detach --name stage-$n --label io.drone=true "
        "--label io.drone.stage.number=$n debian:trixie-slim sleep infinity; done",
        ("inner rm --force stage-1 stage-2 stage-3",),
    ),
    Fault(
        "server-down",
        {"server": "fail"},
        "check `server:`",
        "iptables -I FORWARD -p tcp --dport 8080 -j REJECT --reject-with tcp-reset",
        ("iptables -D FORWARD -p tcp --dport 8080 -j REJECT --reject-with tcp-reset",),
    ),
)
