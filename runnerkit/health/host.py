"""Checks of the machine itself and of the stack's files on it."""

from __future__ import annotations

from runnerkit.change.manifest import read_manifest
from runnerkit.change.outdated import outdated
from runnerkit.change.plan import DIRECTORY_MODE
from runnerkit.desired.traits import ARCHITECTURES
from runnerkit.facts.daemon import DaemonFacts
from runnerkit.facts.host import Disk, find_container
from runnerkit.health.model import Case, Finding, fail, ok, skip, unknown, warn
from runnerkit.paths import DIGEST_LABEL, MANIFEST
from runnerkit.units import format_bytes

# Seconds. Certificates and tokens begin to be refused after minutes.
CLOCK_WARN, CLOCK_FAIL = 30, 300
GIB = 1 << 30
# Whichever is smaller: a share means nothing on a big disk, an amount nothing on a small one.
SPACE_WARN, SPACE_FAIL = (5 * GIB, 0.10), (GIB, 0.02)
INODES_WARN, INODES_FAIL = 0.10, 0.02
MEMORY_WARN, MEMORY_FAIL = 0.08, 0.03
SWAP_WARN = 0.10


def reachable(case: Case) -> Finding:
    """The host answers and lets us in."""
    return ok(f"logged in; {case.facts.system.os_name or 'unknown system'}")


def root(case: Case) -> Finding:
    """Commands on the host run as root."""
    uid = case.facts.system.uid
    if uid is None:
        return unknown("the host does not say who we are there")
    if uid:
        hint = f"set hosts.{case.desired.host}.sudo: true, or log in as root"
        return fail("the login is not root's and sudo is off", f"uid {uid}", hint)
    return ok("through sudo" if case.desired.config.sudo else "logged in as root")


def platform(case: Case) -> Finding:
    """System and architecture are those that the images are made for."""
    system, outer = case.facts.system, case.facts.outer
    evidence = f"Linux {system.kernel} on {system.arch}"
    arch = ARCHITECTURES.get(system.arch)
    if arch is None:
        hint = f"use a machine with one of {', '.join(ARCHITECTURES)}"
        return fail("no images exist for this architecture", evidence, hint)
    if isinstance(outer, DaemonFacts):
        for item in outer.containers:
            if item.arch and item.arch != arch:
                return fail(
                    f"{item.image} is made for {item.arch}: it is emulated, or does not run",
                    evidence,
                    f"runnerkit upgrade {case.desired.host} pulls the one for {arch}",
                )
    return ok(evidence)


def clock(case: Case) -> Finding:
    """The host's clock agrees with this machine's, within 30 s."""
    told, asked = case.facts.system.clock, case.facts.asked
    if told is None or asked is None:
        return unknown("the host does not tell its time")
    return clock_finding(asked.distance(told), "this machine's")


def clock_finding(seconds: float, whose: str) -> Finding:
    """What a difference of clocks means; positive is ahead of `whose` clock."""
    off = abs(seconds)
    if off < CLOCK_WARN:
        return ok(f"agrees with {whose}")
    found = f"{off:.0f} s {'ahead of' if seconds > 0 else 'behind'} {whose}"
    evidence = f"{off:.0f} s off; limit {CLOCK_WARN} s"
    hint = "let NTP set both clocks: `timedatectl set-ntp true`"
    if off < CLOCK_FAIL:
        return warn(found, evidence, hint)
    return fail(found, evidence, hint)


def disk_space(case: Case) -> Finding:
    """Room is left on the system's disk and on that of the data-root."""
    disks = _disks(case)
    if not disks:
        return unknown("the host does not tell how full its disks are")
    found: list[Finding] = []
    for disk in disks:
        low, least = (
            min(limit, int(disk.total * share)) for limit, share in (SPACE_WARN, SPACE_FAIL)
        )
        evidence = (
            f"{format_bytes(disk.available)} of {format_bytes(disk.total)} left on {disk.mount}"
        )
        hint = f"on the host: du -xh {disk.mount} | sort -h | tail"
        if disk == case.facts.system.data_disk:
            hint = f"runnerkit docker {case.desired.host} -- system df; {hint}"
        if disk.available < least:
            found.append(
                fail(f"{disk.mount} is full", f"{evidence}; limit {format_bytes(least)}", hint)
            )
        elif disk.available < low:
            found.append(
                warn(f"{disk.mount} is nearly full", f"{evidence}; limit {format_bytes(low)}", hint)
            )
        else:
            found.append(ok(evidence))
    return worst_of(found)


def inodes(case: Case) -> Finding:
    """Inodes are left on the system's disk and on that of the data-root."""
    disks = [disk for disk in _disks(case) if disk.inodes]
    if not disks:
        return skip("these filesystems have no fixed number of inodes")
    found: list[Finding] = []
    for disk in disks:
        share = disk.inodes_available / disk.inodes
        evidence = f"{disk.inodes_available} of {disk.inodes} inodes left on {disk.mount}"
        hint = f"on the host: du -x --inodes {disk.mount} | sort -n | tail"
        if share < INODES_FAIL:
            found.append(fail(f"{disk.mount} has no inodes left", f"{evidence}; limit 2%", hint))
        elif share < INODES_WARN:
            found.append(warn(f"{disk.mount} runs out of inodes", f"{evidence}; limit 10%", hint))
        else:
            found.append(ok(f"{share:.0%} free on {disk.mount}"))
    return worst_of(found)


def worst_of(findings: list[Finding]) -> Finding:
    """The finding that matters most; all summaries of the good ones together."""
    for status in ("fail", "warn", "unknown"):
        for found in findings:
            if found.status == status:
                return found
    return ok("; ".join(dict.fromkeys(found.summary for found in findings)))


def _disks(case: Case) -> list[Disk]:
    system = case.facts.system
    return list(dict.fromkeys(disk for disk in (system.root_disk, system.data_disk) if disk))


def memory(case: Case) -> Finding:
    """Memory and swap are not used up."""
    system = case.facts.system
    total, left = system.memory_bytes, system.memory_available_bytes
    if not total or left is None:
        return unknown("the host does not tell how much memory is free")
    evidence = f"{format_bytes(left)} of {format_bytes(total)} available"
    hint = "fewer builds at a time (runner.capacity), or a limit for them (docker.memory)"
    if left < total * MEMORY_FAIL:
        return fail("no memory is left", f"{evidence}; limit {MEMORY_FAIL:.0%}", hint)
    if left < total * MEMORY_WARN:
        return warn("memory is nearly used up", f"{evidence}; limit {MEMORY_WARN:.0%}", hint)
    swap, free = system.swap_bytes, system.swap_free_bytes
    if swap and free is not None and free < swap * SWAP_WARN and left < total / 4:
        used = f"{format_bytes(free)} of {format_bytes(swap)} swap left; limit {SWAP_WARN:.0%}"
        return warn("swap is nearly used up", f"{used}; {evidence}", hint)
    return ok(evidence)


def files(case: Case) -> Finding:
    """The stack's files are as runnerkit wrote them, and what its services have read."""
    system = case.facts.system
    if system.directory_mode is None:
        return skip("not set up")
    hint = f"runnerkit plan {case.desired.host}, then runnerkit up {case.desired.host}"
    manifest = read_manifest(system.file(MANIFEST))
    if manifest is None:
        return fail("manifest.json is missing or damaged", str(case.desired.paths.directory), hint)
    changed = []
    for name, digest in manifest.files.items():
        found = system.file(name)
        if found is None:
            changed.append(f"{name} is missing")
        elif found.sha256 != digest:
            changed.append(f"{name} was edited")
    containers = (find_container(case.facts, service) for service in case.desired.services)
    reasons = (outdated(manifest.files, case.facts, item) for item in containers if item)
    changed += [why for why in reasons if why]
    if changed:
        return warn("changed by hand", "; ".join(changed), hint)
    return ok("as they were written")


def drift(case: Case) -> Finding:
    """What was set up last is what the configuration says now."""
    manifest = read_manifest(case.facts.system.file(MANIFEST))
    if manifest is None:
        return skip("not set up")
    wanted = {file.name: file.sha256 for file in case.desired.files}
    pending = [name for name, digest in wanted.items() if manifest.files.get(name) != digest]
    for service in case.desired.services:
        container = find_container(case.facts, service)
        label = container.labels.get(DIGEST_LABEL) if container else None
        if container and label != case.desired.services[service] and not pending:
            pending.append(f"{service} runs with an earlier configuration")
    if pending:
        hint = f"runnerkit plan {case.desired.host}, then runnerkit up {case.desired.host}"
        return warn("the configuration has changed since", "; ".join(pending), hint)
    return ok("as configured")


def secret_files(case: Case) -> Finding:
    """Only root can read the files that hold secrets."""
    system, directory = case.facts.system, str(case.desired.paths.directory)
    if system.directory_mode is None:
        return skip("not set up")
    wrong = []
    if system.directory_mode & ~DIRECTORY_MODE:
        wrong.append(f"{directory} has mode {system.directory_mode:04o}; 0750 is the limit")
    for file in case.desired.files:
        found = system.file(file.name)
        if not file.secret or found is None:
            continue
        if found.mode != file.mode:
            wrong.append(f"{file.name} has mode {found.mode:04o}; {file.mode:04o} is right")
        if found.owner != "root:root":
            wrong.append(f"{file.name} belongs to {found.owner}")
    if wrong:
        hint = f"runnerkit up {case.desired.host}; change the secret if others may have read it"
        return fail("others can read a secret", "; ".join(wrong), hint)
    return ok("root alone can read them")


CHECKS = (
    reachable, root, platform, clock, disk_space, inodes, memory, files, drift, secret_files,
)  # fmt: skip
