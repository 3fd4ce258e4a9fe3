"""One disposable host: a Debian system in its own namespaces, with power that can be cut."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.lab import cgroups, machine, processes
from tests.lab.network import Network, unplug
from tests.lab.rootfs import SCRIPTS
from tests.lab.shell import LabError, run, wait_until

SIZE = re.compile(r"(\d+)([kKmMgG]?)[bB]?")
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


def parse_size(text: str) -> int:
    """A size like 512M or 2G in bytes."""
    match = SIZE.fullmatch(text)
    if not match:
        raise LabError(f"{text!r} is not a size like 512M or 2G")
    return int(match[1]) * UNITS[match[2].lower()]


@dataclass(frozen=True)
class Kind:
    """What distinguishes one host from another."""

    bare: bool = False
    systemd: bool = False
    disk: int | None = None
    memory: int | None = None


@dataclass(frozen=True)
class Host:
    """A host of a lab; everything it writes is below its directory."""

    lab: str
    state: Path
    network: Network
    name: str
    number: int
    kind: Kind
    lower: str

    @property
    def folder(self) -> Path:
        """Where everything of this host is."""
        return self.state / "hosts" / self.name

    @property
    def address(self) -> str:
        """Its address on the lab's bridge."""
        return self.network.address(self.number)

    @property
    def init(self) -> processes.Process | None:
        """Its PID 1 as the machine sees it, if the host runs."""
        return processes.recorded(self.folder / "init.json")

    def create(self, key: Path, daemon_json: dict[str, object]) -> None:
        """Make its directories, identity and disk; nothing that is there is touched."""
        if (self.folder / "host.json").exists():
            return
        if self.folder.exists():
            shutil.rmtree(self.folder)
        for name in ("upper", "work", "root", "data", "seed/local-ca"):
            (self.folder / name).mkdir(parents=True)
        self.folder.joinpath("upper").chmod(0o755)
        seed = self.folder / "seed"
        host_key = seed / "ssh_host_ed25519_key"
        comment = ["-C", f"root@{self.name}"]
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", *comment, "-f", host_key])
        shutil.copyfile(f"{key}.pub", seed / "authorized_keys")
        (seed / "machine-id").write_text(f"{uuid.uuid4().hex}\n")
        (seed / "daemon.json").write_text(json.dumps(daemon_json, indent=2) + "\n")
        if machine.CA_BUNDLE.exists():
            shutil.copyfile(machine.CA_BUNDLE, seed / machine.CA_BUNDLE.name)
        local = Path("/usr/local/share/ca-certificates")
        if local.is_dir():
            shutil.copytree(local, seed / "local-ca", dirs_exist_ok=True)
        if self.kind.disk is not None:
            disk = self.folder / "disk.img"
            with disk.open("wb") as file:
                file.truncate(self.kind.disk)
            run(["mkfs.ext4", "-q", "-F", "-m", "0", disk])
        facts = {"number": self.number, **asdict(self.kind)}
        (self.folder / "host.json").write_text(json.dumps(facts))

    def host_key(self) -> str:
        """Its public SSH key, as known_hosts wants it after the address."""
        text = (self.folder / "seed/ssh_host_ed25519_key.pub").read_text()
        return " ".join(text.split()[:2])

    def boot(self) -> None:
        """Turn it on; returns when its init runs. Nothing happens if it is on."""
        if self.init:
            return
        self.cut()
        (self.folder / "seed/resolv.conf").write_text(machine.resolver())
        groups = cgroups.create(self.lab, self.name, self.kind.memory)
        disk = self.folder / "disk.img"
        env = {
            "HOST_DIR": str(self.folder),
            "HOST_NAME": self.name,
            "LOWER": self.lower,
            "ADDRESS": self.address,
            "GATEWAY": self.network.gateway,
            "SYSTEMD": "1" if self.kind.systemd else "",
            "CGROUPS": _cgroup_list(),
            "DISK": str(disk) if disk.exists() else "",
            "LAB_SCRIPTS": str(SCRIPTS),
        }
        # Only the child joins the host's groups: a waiting parent would be in the way there, as
        # version 2 lets no group with a process hand its controllers down.
        namespaces = ["--mount", "--uts", "--ipc", "--pid", "--net", "--fork"]
        enter = ["unshare", "--cgroup", "sh", str(SCRIPTS / "enter-host.sh")]
        argv = ["unshare", *namespaces, *processes.joining(groups, enter)]
        log = self.folder / "boot.log"
        waiting = cgroups.create(self.lab, cgroups.SERVICES)
        process = processes.start(argv, waiting, log=log, env=env)
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            answer = process.stdout.readline().strip()
            if not answer:
                raise LabError(f"{self.name} did not start:\n{log.read_text()[-2000:]}")
            init = processes.of_pid(int(answer))
            self.network.plug(self.number, init.pid)
            init.save(self.folder / "init.json")
            process.stdin.write(b"go\n")

    def wait(self, seconds: float = 60) -> None:
        """Return when SSH answers and, where Docker is installed, its daemon too."""

        def ready() -> bool:
            if self.init is None:
                log = (self.folder / "boot.log").read_text()[-2000:]
                raise LabError(f"{self.name} went off while booting:\n{log}")
            return self._ssh_answers() and (self.kind.bare or self._docker_answers())

        wait_until(ready, seconds, f"{self.name} answers on SSH and Docker")

    def cut(self) -> None:
        """Cut its power: every process in it is gone at once, nothing is written any more.

        Returns when nothing of it is left but its directories; does nothing if it is off.
        """
        init = self.init
        if init:
            with contextlib.suppress(ProcessLookupError):
                os.kill(init.pid, 9)
        unplug(self.network.device(self.number))
        cgroups.kill(self.lab, self.name)
        cgroups.remove(self.lab, self.name)
        wait_until(lambda: not loops_below(self.folder), 10, f"the disk of {self.name} is free")
        (self.folder / "init.json").unlink(missing_ok=True)

    def enter(self, argv: Sequence[str]) -> None:
        """Become a program inside the host, with this process's stdin, stdout and stderr."""
        init = self.init
        if init is None:
            raise LabError(f"{self.name} is off")
        for place in cgroups.places(self.lab, self.name):
            # Where the group has groups below it, version 2 takes no process.
            leaf = place / "init" if (place / "init").is_dir() else place
            with contextlib.suppress(OSError):
                (leaf / "cgroup.procs").write_text("0")
        spaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        clean = ["env", "-i", f"PATH={path}", "HOME=/root", "LANG=C.UTF-8", "TERM=dumb"]
        os.chdir("/")
        os.execvp("nsenter", ["nsenter", f"--target={init.pid}", *spaces, "--", *clean, *argv])

    def _ssh_answers(self) -> bool:
        try:
            with socket.create_connection((self.address, 22), timeout=1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def _docker_answers(self) -> bool:
        init = self.init
        if init is None:
            return False
        connection = _UnixConnection(f"/proc/{init.pid}/root/run/docker.sock")
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/_ping")
            return connection.getresponse().status == 200
        return False


def loops_below(folder: Path) -> list[str]:
    """The loop devices whose files are below a directory."""
    found = []
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if Path(file.read_text().strip()).is_relative_to(folder):
                found.append(f"/dev/{file.parent.parent.name}")
    return found


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=2)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(2)
        self.sock.connect(self.path)


def _cgroup_list() -> str:
    """The hierarchies as enter-host.sh wants them."""
    top = Path("/sys/fs/cgroup")
    items = []
    for mount in machine.cgroup_mounts():
        name = mount.path.relative_to(top).as_posix() if mount.path != top else "."
        items.append(f"{mount.options or 2}:{name}")
    return " ".join(items)
