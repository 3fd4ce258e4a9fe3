"""A converged host as desired state and facts; each test takes one step away from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml

from runnerkit.change.manifest import next_manifest
from runnerkit.config.effective import Config
from runnerkit.config.loading import load
from runnerkit.desired.hardening import isolation_of
from runnerkit.desired.shipped import shipped_files
from runnerkit.desired.state import DesiredState, build
from runnerkit.facts.daemon import ContainerFacts, DaemonFacts, Mount
from runnerkit.facts.host import (
    BuildCache,
    Disk,
    HostFacts,
    RemoteFile,
    ServerFacts,
    Span,
    SystemFacts,
    traits_of,
)
from runnerkit.facts.inside import InsideFacts, Way
from runnerkit.facts.janitor import JanitorReport
from runnerkit.facts.names import NameAnswer
from runnerkit.paths import DIGEST_LABEL, MANIFEST
from runnerkit.secret import Secret

NOW = 1_767_236_400  # some hours after the containers were started
SECRET = Secret("p$A\"ss'wo#rd =x")

BASE = {
    "server": "https://drone.example.com",
    "secret": "env:DRONE_RPC_SECRET",
    "hosts": {"forge": {"ssh": "root@forge.lan"}},
}


_COMPOSE = yaml.safe_load(shipped_files().compose)


def config_of(folder: Path, **sections: object) -> Config:
    """The effective configuration of one host `forge` with these sections."""
    path = folder / "runnerkit.yml"
    content = BASE | {"hosts": {"forge": {"ssh": "root@forge.lan", **sections}}}
    path.write_text(yaml.safe_dump(content))
    return load(path)


def bare_system() -> SystemFacts:
    disk = Disk("/", "ext4", 100 << 30, 80 << 30, 1_000_000, 900_000)
    return SystemFacts(
        os_id="debian",
        os_version="13",
        os_name="Debian GNU/Linux 13 (trixie)",
        kernel="6.12.0",
        arch="x86_64",
        uid=0,
        apt=True,
        systemd=True,
        cpus=4,
        memory_bytes=8 << 30,
        memory_available_bytes=6 << 30,
        swap_bytes=2 << 30,
        swap_free_bytes=2 << 30,
        clock=NOW,
        mtu=1500,
        nameservers=("192.168.1.1",),
        root_disk=disk,
        data_disk=disk,
    )


def outer_daemon(**changes: object) -> DaemonFacts:
    values: dict[str, object] = {
        "version": "26.1.5",
        "api_version": "1.45",
        "min_api_version": "1.24",
        "os": "linux",
        "arch": "x86_64",
        "storage_driver": "overlay2",
        "data_root": "/var/lib/docker",
        "ncpu": 4,
        "memory_bytes": 8 << 30,
        "security_options": (),
        "registry_mirrors": (),
        "containers": (),
        "images": {},
        "subnets": ("172.17.0.0/16",),
        "warnings": (),
    }
    return DaemonFacts(**(values | changes))  # type: ignore[arg-type]


def container(service: str, desired: DesiredState, **changes: object) -> ContainerFacts:
    values: dict[str, object] = {
        "id": f"{service}-id",
        "name": f"runnerkit-main-{service}-1",
        "service": service,
        "image": desired.images[service],  # type: ignore[index]
        "image_id": "sha256:1",
        "state": "running",
        "health": "healthy",
        "started_at": "2026-01-01T00:00:00Z",
        "restarts": 0,
        "exit_code": 0,
        "oom_killed": False,
        "labels": {DIGEST_LABEL: desired.services[service]},  # type: ignore[index]
        "error": "",
        "pid": 4711,
        "arch": "amd64",
        "mounts": (Mount("bind", str(desired.paths.data), "/var/lib/docker"),),
        "isolation": isolation_of(_COMPOSE["services"][service]),
    }
    return ContainerFacts(**(values | changes))  # type: ignore[arg-type]


def with_docker() -> HostFacts:
    system = replace(bare_system(), docker_cli=True, compose_version="2.26.1")
    inner = outer_daemon(version="28.5.2", api_version="1.51")
    return HostFacts(system=system, outer=outer_daemon(), inner=inner)


def desired_for(folder: Path, **sections: object) -> DesiredState:
    [host] = config_of(folder, **sections).hosts
    return build(host, SECRET, traits_of(with_docker()), shipped_files())


def converged(desired: DesiredState) -> HostFacts:
    """Facts of a host on which `desired` was carried out."""
    facts = with_docker()
    files = tuple(
        RemoteFile(f.name, f.mode, "root:root", f.sha256, None if f.secret else f.content)
        for f in desired.files
    )
    manifest = next_manifest(0, desired.files, 0).to_bytes()
    files += (RemoteFile(MANIFEST, 0o644, "root:root", "", manifest),)
    return replace(
        facts,
        system=replace(
            facts.system,
            directory_mode=0o750,
            files=files,
            janitor=JanitorReport(NOW - 60, 0, 0),
        ),
        outer=outer_daemon(
            containers=tuple(container(name, desired) for name in desired.services),
            images=dict.fromkeys(desired.images.values(), "sha256:1"),
        ),
        inner=outer_daemon(
            version="28.5.2",
            images=dict.fromkeys(desired.preload, "sha256:2"),
            registry_mirrors=tuple(desired.config.docker.mirrors),
        ),
        asked=Span(NOW, NOW + 0.5),
        runner_log='level=info msg="polling the remote server"',
        server=ServerFacts(
            200, clock=NOW, asked=Span(NOW, NOW + 0.5), certificate_ends=NOW + 90 * 86400.0
        ),
        inside=InsideFacts(
            devices={"lo": 65536, "eth0": 1500, "docker0": 1500},
            names={"192.168.1.1": NameAnswer.FOUND},
            ways=(Way("drone.example.com", 443, None), Way("registry-1.docker.io", 443, None)),
            data_seen="8:42",
            data_there="8:42",
            oom_kills=(),
            dind_log=(),
            runner_links=2,
        ),
        build_cache=BuildCache(3 << 30),
    )
