"""What the machine under the lab has: packages, package mirror, trust store, cgroups."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.lab.shell import LabError, run, say

# What the lab and the tests on it call, and the Debian package that has it.
TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "docker-registry": "docker-registry",
    "ip": "iproute2",
    "iptables": "iptables",
    "git": "git",
    "ssh-keygen": "openssh-client",
    "unshare": "util-linux",
    "mkfs.ext4": "e2fsprogs",
    "gpg": "gpg",
    "npm": "npm",
    "prometheus": "prometheus",
}
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
# Older machines' keyrings do not know the youngest suites' keys under their own names; apt's own
# configuration of validity checks, proxies and certificates must hold for the hosts as well.
APT_OPTIONS = re.compile(
    r"^(Acquire::(Check-Valid-Until|Check-Date|AllowInsecureRepositories|Retries"
    r"|(http|https|ftp)::.*)|Apt::Authentication::.*) \"(.+)\";$",
    re.IGNORECASE,
)


def install_tools() -> None:
    """Install what is missing of TOOLS; returns at once when nothing is."""
    missing = sorted({package for tool, package in TOOLS.items() if not shutil.which(tool)})
    if not missing:
        return
    say(f"installing {' '.join(missing)} on this machine")
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    # A policy that refuses: the registry's own service must not start.
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        run(["apt-get", "update"], env=env)
        run(command, env=env)
    finally:
        if ours:
            policy.unlink()


@cache
def mirror() -> str:
    """The address of the Debian archive that this machine's apt uses."""
    codename = ""
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            codename = line.partition("=")[2].strip('"')
    form = "$(CREATED_BY) $(RELEASE) $(REPO_URI)"
    for line in run(["apt-get", "indextargets", "--format", form]).splitlines():
        kind, release, uri = line.split(" ", 2)
        if kind == "Packages" and release == codename:
            return uri
    raise LabError(f"apt has no source for {codename!r}; the lab needs a Debian machine")


@cache
def apt_options() -> tuple[str, ...]:
    """The lines of this machine's apt configuration that decide how it fetches."""
    lines = run(["apt-config", "dump"]).splitlines()
    return tuple(line for line in lines if APT_OPTIONS.match(line))


def resolver() -> str:
    """A resolv.conf that also works in another network namespace."""
    for path in (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        if path.exists() and not re.search(r"^nameserver\s+127\.", path.read_text(), re.MULTILINE):
            return path.read_text()
    return Path("/etc/resolv.conf").read_text()


@dataclass(frozen=True)
class CgroupMount:
    """One mounted cgroup hierarchy: its place and, for version 1, its mount options."""

    path: Path
    options: str
    version: int


@cache
def cgroup_mounts() -> tuple[CgroupMount, ...]:
    """Every cgroup hierarchy under /sys/fs/cgroup, as /proc/self/mountinfo has them."""
    mounts = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        path, (kind, _, options) = left.split()[4], right.split()[:3]
        if kind == "cgroup":
            names = [x for x in options.split(",") if x not in {"rw", "ro", "xattr", "relatime"}]
            names = [x for x in names if not x.startswith("release_agent")]
            mounts.append(CgroupMount(Path(path), ",".join(names), 1))
        elif kind == "cgroup2":
            mounts.append(CgroupMount(Path(path), "", 2))
    if not mounts:
        raise LabError("no cgroup hierarchy is mounted on this machine")
    return tuple(mounts)
