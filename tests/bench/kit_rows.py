"""How long an admin waits for the kit, beside other ways to do the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from runnerkit.bench.stats import Samples, interleaved
from tests.bench.profile import processor_seconds
from tests.bench.rows import Goal, Row
from tests.bench.slow_link import slow_link
from tests.e2e.kit import ROOT, Lab

DELAY = 0.05
MANY = 20
BIN = Path(sys.executable).parent

WAITS_OF_UP = (
    "after the login: take the lock, begin to ask the daemons, ask them, look at the "
    "files through the containers, give the lock back"
)

# What an admin would type on the host itself.
BY_HAND = """
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends docker.io docker-cli docker-compose
systemctl enable --now docker
until docker version; do sleep 0.2; done
install -d -m 0750 /srv/runnerkit/main
tar -C /srv/runnerkit/main -xpf /tmp/stack.tar
cd /srv/runnerkit/main
docker compose pull --quiet
docker compose up --detach --wait
"""


@dataclass
class Machine:
    """The hosts, and the programs that are measured on them."""

    lab: Lab
    folder: Path
    config: dict[str, Any]

    def kit(self, *arguments: str, hosts: Mapping[str, Any] | None = None) -> list[str]:
        """runnerkit with these hosts in its configuration."""
        command, *rest = arguments
        return [str(BIN / "runnerkit"), command, f"--config={self.file(hosts)}", *rest]

    def file(self, hosts: Mapping[str, Any] | None = None) -> Path:
        """A configuration with these hosts, or all."""
        content = self.config | {"hosts": dict(hosts or self.config["hosts"])}
        path = self.folder / f"runnerkit-{abs(hash(json.dumps(content, sort_keys=True)))}.yml"
        path.write_text(yaml.safe_dump(content))
        return path

    def ssh(self, command: str, *, port: int | None = None) -> list[str]:
        """The floor: one command over SSH."""
        host = self.config["hosts"]["host1"]
        target = f"root@{self.address}" if port is None else "root@127.0.0.1"
        known_hosts = host["known_hosts"] if port is None else str(self.folder / "known_hosts")
        options = ["-i", host["identity"], "-o", f"UserKnownHostsFile={known_hosts}"]
        return [
            "ssh",
            "-F",
            "none",
            *options,
            *(["-p", str(port)] if port else []),
            target,
            command,
        ]

    @property
    def address(self) -> str:
        return str(self.config["hosts"]["host1"]["ssh"]).rpartition("@")[2]

    def behind(self, port: int, host: str = "host1") -> dict[str, Any]:
        """The host's entry by way of a port on loopback."""
        known_hosts = str(self.folder / "known_hosts")
        entry: dict[str, Any] = dict(self.config["hosts"][host])
        return entry | {"ssh": f"root@127.0.0.1:{port}", "known_hosts": known_hosts}

    def trust(self, port: int, host: str = "host1") -> None:
        """The host's key is the one of that port, too."""
        address = self.config["hosts"][host]["ssh"].rpartition("@")[2]
        own = Path(self.config["hosts"][host]["known_hosts"]).read_text()
        keys = [line.partition(" ")[2] for line in own.splitlines() if line.startswith(address)]
        with (self.folder / "known_hosts").open("a") as file:
            file.writelines(f"[127.0.0.1]:{port} {key}\n" for key in keys)


def seconds(argv: Sequence[str], **options: Any) -> float:
    """How long a program runs; it must succeed."""
    began = time.perf_counter()
    done = subprocess.run(
        argv, check=False, capture_output=True, stdin=subprocess.DEVNULL, text=True, **options
    )
    took = time.perf_counter() - began
    if done.returncode:
        output = (done.stdout + done.stderr)[-3000:]
        raise RuntimeError(f"{' '.join(map(str, argv))}: exit {done.returncode}\n{output}")
    return took


def timed(argv: Sequence[str], **options: Any) -> Callable[[], float]:
    """The measurement of one program, to be made later."""
    return lambda: seconds(argv, **options)


def converged_rows(machine: Machine, rounds: int) -> list[Row]:
    """Everything that finds nothing to do."""
    one = {"host1": machine.config["hosts"]["host1"]}
    work = {
        "floor": timed(machine.ssh("cd /srv/runnerkit/main && docker compose up -d")),
        "up": timed(machine.kit("up", "--yes", hosts=one)),
        "status": timed(machine.kit("status", hosts=one)),
        "pyinfra": _pyinfra(machine),
        "ansible": _ansible(machine),
        "help": timed([str(BIN / "runnerkit"), "--help"]),
        "python": timed([sys.executable, "-c", "pass"]),
    }
    for once in work.values():
        once()
    found = interleaved(work, rounds)
    floor = "`ssh host docker compose up -d`"
    return [
        Row("`up --yes`, nothing to do", floor, found["up"], found["floor"], Goal("at most", 1.8)),
        Row("the same", "pyinfra", found["up"], found["pyinfra"], Goal("faster", 3)),
        Row("the same", "ansible-playbook with our role", found["up"], found["ansible"],
            Goal("faster", 10)),
        Row("`status`, all checks", floor, found["status"], found["floor"], Goal("at most", 2)),
        Row("`--help`", "`python -c pass`", found["help"], found["python"], Goal("at most", 10)),
    ]  # fmt: skip


def many_hosts_row(machine: Machine, rounds: int) -> Row:
    """Twenty hosts at once; they are three machines, each by several names."""
    hosts = machine.config["hosts"]
    names = [list(hosts)[number % len(hosts)] for number in range(MANY)]
    home = machine.folder / "home"
    (home / ".ssh").mkdir(parents=True)
    aliases = (
        f"Host n{number}\n  HostName {hosts[name]['ssh'].rpartition('@')[2]}\n"
        for number, name in enumerate(names)
    )
    (home / ".ssh/config").write_text("".join(aliases))
    entries = {
        f"n{number}": hosts[name] | {"ssh": f"root@n{number}"} for number, name in enumerate(names)
    }
    options = {"env": os.environ | {"HOME": str(home)}}
    many = timed(machine.kit("status", hosts=entries), **options)
    work = {"one": timed(machine.kit("status", hosts={"n0": entries["n0"]}), **options)}
    found = interleaved(work | {"many": many}, rounds)
    here, everything = processor_seconds(many)
    note = (
        f"the {MANY} are names of {len(hosts)} machines that share this one's processors; one run "
        f"takes {everything:.1f} s of those, {here:.1f} s in runnerkit itself. The rest is what "
        "sshd, docker and the scripts do on hosts, which elsewhere have processors of their own"
    )
    row = f"`status` of {MANY} hosts"
    return Row(row, "one host", found["many"], found["one"], Goal("at most", 5), note=note)


def far_rows(machine: Machine, rounds: int) -> list[Row]:
    """Round trips, by what a longer line adds."""
    with slow_link(machine.address, 22, DELAY) as port:
        machine.trust(port)
        near, far = {"it": machine.config["hosts"]["host1"]}, {"it": machine.behind(port)}
        work = {}
        for place, hosts, number in (("near", near, None), ("far", far, port)):
            work[f"true {place}"] = timed(machine.ssh("true", port=number))
            work[f"up {place}"] = timed(machine.kit("up", "--yes", hosts=hosts))
            work[f"status {place}"] = timed(machine.kit("status", hosts=hosts))
        for once in work.values():
            once()  # the host gets another name here, which is a change
        found = interleaved(work, rounds)
    trips = {name: round_trips(found[f"{name} near"], found[f"{name} far"]) for name in
             ("true", "up", "status")}  # fmt: skip
    return [
        Row(f"`{name}` through a line of 50 ms", "`ssh host true`", trips[name], trips["true"],
            Goal("up to", 3), unit="round trips", note=note)
        for name, note in (("up", WAITS_OF_UP), ("status", ""))
    ]  # fmt: skip


def round_trips(near: Samples, far: Samples) -> Samples:
    """How often a program waited for an answer, from what the delay added."""
    pairs = zip(near.values, far.values, strict=True)
    return Samples(tuple((slow - fast) / (2 * DELAY) for fast, slow in pairs))


def first_up_row(machine: Machine, rounds: int) -> Row:
    """From a bare host to a healthy runner; packages and images come from this machine."""

    def once(work: Callable[[str, dict[str, Any]], float]) -> Callable[[], float]:
        def on_a_new_host() -> float:
            machine.lab.call("host", "add", "bare", "--bare", "--systemd")
            try:
                listed = json.loads(machine.lab.call("hosts").stdout)
                address = next(item["address"] for item in listed if item["name"] == "bare")
                entry = machine.config["hosts"]["host1"] | {"ssh": f"root@{address}"}
                return work(address, {"bare": entry})
            finally:
                machine.lab.call("host", "remove", "bare")

        return on_a_new_host

    def ours(_: str, hosts: dict[str, Any]) -> float:
        return seconds(machine.kit("up", "--yes", hosts=hosts))

    def by_hand(address: str, hosts: dict[str, Any]) -> float:
        stack = machine.folder / f"stack-{time.monotonic_ns()}"
        seconds(machine.kit("render", "bare", f"--out={stack}", hosts=hosts))
        tar = f"{stack}.tar"
        subprocess.run(["tar", "-C", str(stack), "-cpf", tar, "."], check=True)
        host = hosts["bare"]
        options = ["-i", host["identity"], "-o", f"UserKnownHostsFile={host['known_hosts']}"]
        target = f"root@{address}"
        copied = seconds(["scp", *options, tar, f"{target}:/tmp/stack.tar"])
        return copied + seconds(["ssh", *options, target, BY_HAND])

    found = interleaved({"ours": once(ours), "by hand": once(by_hand)}, rounds)
    goal = Goal("at most", 1.15)
    return Row("first `up` of a bare host", "a shell script", found["ours"], found["by hand"], goal)


def _pyinfra(machine: Machine) -> Callable[[], float]:
    host = machine.config["hosts"]["host1"]
    data = {
        "ssh_user": "root",
        "ssh_key": host["identity"],
        "ssh_known_hosts_file": host["known_hosts"],
        "files": str(machine.folder / "rendered"),
    }
    one = {"host1": host}
    seconds(machine.kit("render", "host1", f"--out={machine.folder / 'rendered'}", hosts=one))
    inventory = machine.folder / "inventory.py"
    inventory.write_text(f"hosts = [({machine.address!r}, {data!r})]\n")
    program = ROOT / ".make/pyinfra/bin/pyinfra"
    return timed(
        [str(program), "-y", str(inventory), str(Path(__file__).with_name("provision.py"))]
    )


def _ansible(machine: Machine) -> Callable[[], float]:
    out = machine.folder / "ansible"
    one = {"host1": machine.config["hosts"]["host1"]}
    seconds(machine.kit("export", "ansible", f"--out={out}", hosts=one))
    program = ROOT / ".make/ansible/bin/ansible-playbook"
    extra = f"runnerkit_program={BIN / 'runnerkit'}"
    argv = [str(program), f"--inventory={out / 'inventory.yml'}", f"--extra-vars={extra}",
            str(ROOT / "ansible/playbook.yml")]  # fmt: skip
    # The folder's ansible.cfg turns pipelining and ControlPersist on.
    return timed(argv, cwd=ROOT / "ansible", env=os.environ | {"ANSIBLE_NOCOLOR": "1"})
