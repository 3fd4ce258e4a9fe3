"""A lab: hosts, a registry, a git server and a Drone server on one bridge."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from tests.lab import cgroups, machine, network, processes, recipes
from tests.lab.cache import cache_dir, digest, locked, write_atomically
from tests.lab.host import NAME, Host, Kind, loops_below
from tests.lab.images import IMAGES
from tests.lab.network import Network
from tests.lab.registry import Registry
from tests.lab.rootfs import Builder, Recipe
from tests.lab.shell import LabError, run, say, wait_until

ROOT = Path(__file__).parent.parent.parent
TOKENS = {"admin": "lab-token-of-the-admin", "user": "lab-token-of-a-user"}
SECRET = "p$A\"ss'wo#rd =x"
KEEPER = "keeper"
DIND = "28"


def current_entries() -> set[str]:
    """The names of the cache entries that the present recipes make."""
    tops = [recipes.HOST_DOCKER, *(image.top for image in IMAGES)]
    return {f"{recipe.name}-{recipe.key()}" for top in tops for recipe in top.chain()}


def prepare() -> Builder:
    """Have everything that takes long: this machine's packages, root filesystems and images."""
    machine.install_tools()
    cache_dir().mkdir(parents=True, exist_ok=True)
    builder = Builder()
    tops = [recipes.HOST_DOCKER, *(image.top for image in IMAGES)]
    builder.request(*tops)
    for top in tops:
        builder.place(top)
    return builder


@dataclass
class Lab:
    """One lab by its name; all its state is below one directory."""

    name: str

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise LabError(f"{self.name!r} cannot name a lab")

    @property
    def state(self) -> Path:
        """The state directory."""
        return ROOT / ".lab" / self.name

    @property
    def group(self) -> str:
        """What its control groups are called: another checkout's lab may have the same name."""
        return f"{self.name}-{digest(str(self.state))[:8]}"

    @property
    def exists(self) -> bool:
        """Whether `up` was called since the last `down`."""
        return (self.state / "lab.json").exists()

    @property
    def key(self) -> Path:
        """The private SSH key that opens every user of every host."""
        return self.state / "id_ed25519"

    @property
    def server(self) -> str:
        """The Drone server's address."""
        return f"http://{self.network.gateway}:8080"

    @property
    def git(self) -> str:
        """The git server's address."""
        return f"http://{self.network.gateway}:3100"

    @property
    def registry(self) -> str:
        """The registry's address."""
        return f"http://{self.network.gateway}:5000"

    @property
    def storage(self) -> Registry:
        """What the registry serves."""
        return Registry(self.state / "registry")

    @cached_property
    def network(self) -> Network:
        """The lab's subnet, claimed at first use."""
        return network.claim(self.state)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Change the lab: one at a time."""
        with locked(cache_dir() / "locks" / f"lab-{self.group}"):
            yield

    def need(self) -> None:
        """Raise unless the lab exists."""
        if not self.exists:
            raise LabError(f"there is no lab {self.name!r}; `python -m tests.lab up` makes one")

    # --- up and down ------------------------------------------------------------------------------

    def up(self, count: int, kind: Kind, dind: str | None, owner: int | None) -> dict[str, Any]:
        """Start what is missing of the lab and of its first hosts; returns what `up` prints."""
        builder = prepare()
        with self.lock():
            # Before anything is made: from then on the keeper removes it.
            owning = processes.of_pid(owner) if owner is not None else None
            self._found(dind)
            if owning:
                self._keep(owning)
            self.network.create()
            self._serve(builder)
            present = self.hosts()
            wanted = [f"host{number}" for number in range(1, count + 1)]
            for name in wanted:
                if name not in present:
                    present[name] = self._create(name, kind)
            hosts = list(present.values())
            self._boot([host for host in hosts if host.name in wanted])
            self._describe(hosts)
        return self.info()

    def down(self) -> None:
        """Remove everything of the lab, whatever state it is in; what is not there is no error."""
        with self.lock():
            self._down()

    def _down(self) -> None:
        mine = frozenset({os.getpid()})
        # Before anything else: from now on nobody starts anything again.
        (self.state / "lab.json").unlink(missing_ok=True)
        cgroups.kill(self.group, spare=mine)
        indices = [index for index, state in network.claims().items() if state == self.state]
        for index in indices:
            Network(index).remove()
        if cgroups.members(self.group) & mine:
            # This is the keeper, which must not sit in what it removes.
            for mount in machine.cgroup_mounts():
                (mount.path / "cgroup.procs").write_text(str(os.getpid()))
        cgroups.remove(self.group)
        self._detach_disks()
        if self.state.exists():
            shutil.rmtree(self.state)
        for index in indices:
            network.release(index)

    def _detach_disks(self) -> None:
        """Loop devices go with their mounts; this is for one that was made and never mounted."""
        for device in loops_below(self.state):
            run(["losetup", "-d", device], check=False)

    def _found(self, dind: str | None) -> None:
        """Make the state directory, the lab's key and its secret."""
        if self.exists:
            facts = json.loads((self.state / "lab.json").read_text())
            if dind and facts["dind"] != dind:
                raise LabError(f"the lab runs with --dind {facts['dind']}; take it down first")
            return
        self._down()
        for name in ("hosts", "registry", "git", "drone", "services"):
            (self.state / name).mkdir(parents=True)
        comment = ["-C", f"runnerkit-lab-{self.name}"]
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", *comment, "-f", self.key])
        secret = self.state / "rpc-secret"
        secret.touch(0o600)
        secret.write_text(SECRET)
        token = self.state / "api-token"
        token.touch(0o600)
        token.write_text(TOKENS["admin"])
        users = {TOKENS[name]: {"login": name, "admin": name == "admin"} for name in TOKENS}
        (self.state / "drone/tokens.json").write_text(json.dumps(users))
        facts = {"dind": dind or DIND, "index": self.network.index}
        (self.state / "lab.json").write_text(json.dumps(facts))

    # --- services ---------------------------------------------------------------------------------

    def _serve(self, builder: Builder) -> None:
        self._publish(builder)
        gateway, state = self.network.gateway, self.state
        configuration = state / "registry.yml"
        configuration.write_text(self.storage.configuration(f"{gateway}:5000"))
        python = [sys.executable, "-m"]
        self._service("registry", ["docker-registry", "serve", str(configuration)], 5000)
        git = [*python, "tests.lab.gitserver", gateway, "3100", str(state / "git")]
        self._service("git", git, 3100)
        files = ["--secret-file", str(state / "rpc-secret"), "--state", str(state / "drone")]
        drone = [*python, "tests.lab.drone.server", "--listen", f"{gateway}:8080", *files]
        self._service("drone", drone, 8080)
        for port in (5000, 3100, 8080):
            wait_until(partial(self._listens, port), 20, f"a service listens on {port}")

    def _publish(self, builder: Builder) -> None:
        """Put the images into the registry, those that `image` replaced excepted."""
        replaced = self._replaced()
        for image in IMAGES:
            if replaced.isdisjoint(image.names):
                self.storage.publish(image, builder.layers(image.top))

    def _replaced(self) -> set[str]:
        file = self.state / "replaced.json"
        return set(json.loads(file.read_text())) if file.exists() else set()

    def image(self, name: str, tarball: Path) -> dict[str, Any]:
        """Put an image from a tarball into this lab's registry, in place of a stand-in."""
        self.need()
        with self.lock():
            replaced = {*self._replaced(), name}
            (self.state / "replaced.json").write_text(json.dumps(sorted(replaced)))
            return {"name": name, "digest": self.storage.load(name, tarball)}

    def _service(self, name: str, argv: list[str], port: int) -> None:
        record = self.state / "services" / f"{name}.json"
        if processes.recorded(record):
            return
        say(f"starting {name} on port {port}")
        groups = cgroups.create(self.group, cgroups.SERVICES)
        log = record.with_suffix(".log")
        processes.start_service(argv, groups, log=log, cwd=ROOT).save(record)

    def _listens(self, port: int) -> bool:
        for record in (self.state / "services").glob("*.json"):
            if processes.recorded(record) is None:
                log = record.with_suffix(".log").read_text()[-2000:]
                raise LabError(f"{record.stem} ended:\n{log}")
        with contextlib.suppress(OSError):
            socket.create_connection((self.network.gateway, port), timeout=1).close()
            return True
        return False

    def _keep(self, owning: processes.Process) -> None:
        """Have a keeper that takes the lab down when this process ends."""
        record = self.state / f"{KEEPER}.json"
        mark = self.state / "owner.json"
        if processes.recorded(record) and processes.recorded(mark) == owning:
            return
        keeper = processes.recorded(record)
        if keeper:
            with contextlib.suppress(ProcessLookupError):
                os.kill(keeper.pid, 9)
        owning.save(mark)
        argv = [sys.executable, "-m", "tests.lab", "keep", str(owning.pid), str(owning.began)]
        os.environ["RUNNERKIT_LAB"] = self.name
        groups = cgroups.create(self.group, cgroups.SERVICES)
        log = Path("/dev/null")
        processes.start_service(argv, groups, log=log, cwd=ROOT).save(record)

    # --- hosts ------------------------------------------------------------------------------------

    def hosts(self) -> dict[str, Host]:
        """Every host that was made, on or off, by number."""
        found = []
        for file in (self.state / "hosts").glob("*/host.json"):
            facts = json.loads(file.read_text())
            found.append(self._host(file.parent.name, facts.pop("number"), Kind(**facts)))
        return {host.name: host for host in sorted(found, key=lambda host: host.number)}

    def host(self, name: str) -> Host:
        """The host of this name."""
        self.need()
        hosts = self.hosts()
        if name not in hosts:
            raise LabError(f"there is no host {name!r}; there are: {', '.join(hosts)}")
        return hosts[name]

    def add(self, name: str, kind: Kind) -> dict[str, Any]:
        """Add one host of any kind to the running lab; returns what `up` prints for it."""
        self.need()
        with self.lock():
            hosts = self.hosts()
            host = hosts.get(name)
            if host and host.kind != kind:
                raise LabError(f"{name} is there and of another kind: {asdict(host.kind)}")
            host = host or self._create(name, kind)
            self._boot([host])
            self._describe(list(self.hosts().values()))
        return self._printed(host)

    def remove(self, name: str) -> None:
        """Remove a host with all that it wrote."""
        host = self.host(name)
        with self.lock():
            host.cut()
            shutil.rmtree(host.folder)
            self._describe(list(self.hosts().values()))

    def cut(self, name: str) -> None:
        """Cut a host's power."""
        host = self.host(name)
        with self.lock():
            host.cut()

    def boot(self, name: str) -> dict[str, Any]:
        """Turn a host on and wait until it answers."""
        host = self.host(name)
        with self.lock():
            self._boot([host])
        return self._printed(host)

    def _create(self, name: str, kind: Kind) -> Host:
        if not NAME.fullmatch(name):
            raise LabError(f"{name!r} cannot name a host")
        used = {host.number for host in self.hosts().values()}
        preferred = re.fullmatch(r"host(\d{1,2})", name)
        numbers = [int(preferred[1])] if preferred else []
        # Numbers of other names begin high, so that host1 to host99 keep theirs.
        number = next(n for n in [*numbers, *range(100, 240)] if n not in used and n > 0)
        host = self._host(name, number, kind)
        host.create(self.key, {"registry-mirrors": [self.registry]})
        return host

    def _host(self, name: str, number: int, kind: Kind) -> Host:
        recipe = recipes.HOST_BARE if kind.bare else recipes.HOST_DOCKER
        lower = self._lower(recipe)
        return Host(self.group, self.state, self.network, name, number, kind, lower)

    def _lower(self, recipe: Recipe) -> str:
        """The root filesystem that this lab's hosts began with: rebuilding it changes no host."""
        file = self.state / f"{recipe.name}.lower"
        if not file.exists():
            file.write_text(Builder().lowerdir(recipe))
        return file.read_text()

    def _boot(self, hosts: list[Host]) -> None:
        off = [host for host in hosts if host.init is None]
        if off:
            say(f"booting {', '.join(host.name for host in off)}")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(Host.boot, off))
            list(pool.map(Host.wait, hosts))
        if off:
            say("ready")

    # --- what is told -----------------------------------------------------------------------------

    def _describe(self, hosts: list[Host]) -> None:
        """Write known_hosts and runnerkit.yml."""
        known = "".join(f"{host.address} {host.host_key()}\n" for host in hosts)
        write_atomically(self.state / "known_hosts", known)
        image = f"docker:{json.loads((self.state / 'lab.json').read_text())['dind']}-dind"
        content = {
            "server": self.server,
            "secret": f"file:{self.state / 'rpc-secret'}",
            "token": f"file:{self.state / 'api-token'}",
            "defaults": {"docker": {"image": image, "mirrors": [self.registry]}},
            "hosts": {
                host.name: {
                    "ssh": f"root@{host.address}",
                    "identity": str(self.key),
                    "known_hosts": str(self.state / "known_hosts"),
                }
                for host in hosts
            },
        }
        # JSON is YAML: nothing to quote wrongly.
        write_atomically(self.state / "runnerkit.yml", json.dumps(content, indent=2) + "\n")

    def _printed(self, host: Host) -> dict[str, Any]:
        return {
            "name": host.name,
            "address": host.address,
            "user": "root",
            "key": str(self.key),
            "known_hosts": str(self.state / "known_hosts"),
        }

    def info(self) -> dict[str, Any]:
        """What `up` prints."""
        return {
            "hosts": [self._printed(host) for host in self.hosts().values()],
            "server": {"url": self.server, "secret": SECRET, "tokens": TOKENS},
            "config": str(self.state / "runnerkit.yml"),
            "registry": self.registry,
            "git": self.git,
        }
