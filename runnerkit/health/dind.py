"""Checks of the runner's own daemon: that it runs, on the right data."""

from __future__ import annotations

from runnerkit.change.data_root import unfit
from runnerkit.desired.state import DIND
from runnerkit.facts.daemon import DaemonFacts, DaemonUnavailable
from runnerkit.facts.host import find_container
from runnerkit.health.containers import ago, container_finding, restart_dind, running, seconds_up
from runnerkit.health.model import Case, Finding, fail, ok, skip, unknown, warn

DATA_ROOT = "/var/lib/docker"
SLOW_DRIVERS = {
    "vfs": "copies every layer whole: slow, and disks fill up",
    "devicemapper": "was removed from newer engines",
    "aufs": "was removed from newer engines",
}
LOST_FILESYSTEMS = ("tmpfs", "ramfs", "overlay")
OOM_SECONDS = 3600
# The stage may still be ending when its time is up; the janitor comes around every few minutes.
LEFTOVER_SECONDS = 1800


def dind(case: Case) -> Finding:
    """The container of the runner's daemon runs, is healthy and stays up."""
    return container_finding(case, DIND)


def dind_api(case: Case) -> Finding:
    """The runner's daemon answers."""
    inner = case.facts.inner
    if not running(case, DIND):
        return skip("dind is not running")
    if isinstance(inner, DaemonUnavailable):
        hint = f"runnerkit logs {case.desired.host} dind"
        return fail("the runner's daemon does not answer", inner.reason, hint)
    evidence = f"engine {inner.version}, API {inner.min_api_version} to {inner.api_version}"
    return ok(f"Docker {inner.version} answers", evidence)


def storage_driver(case: Case) -> Finding:
    """Layers are stored by a driver that shares them, the one that is configured."""
    inner = case.facts.inner
    if isinstance(inner, DaemonUnavailable):
        return skip("the runner's daemon does not answer")
    driver, wanted = inner.storage_driver, case.desired.config.docker.storage_driver
    if wanted and wanted != driver:
        hint = f"runnerkit logs {case.desired.host} dind"
        return fail("not the configured one", f"{driver} instead of {wanted}", hint)
    if driver in SLOW_DRIVERS:
        hint = "put docker.data on ext4 or xfs and leave docker.storage_driver out"
        return fail(f"{driver} {SLOW_DRIVERS[driver]}", driver, hint)
    return ok(driver)


def data_root(case: Case) -> Finding:
    """Images and caches lie on the host's disk, where they outlive the container."""
    container = find_container(case.facts, DIND)
    if container is None or not running(case, DIND):
        return skip("dind is not running")
    place, host = str(case.desired.paths.data), case.desired.host
    mount = next((item for item in container.mounts if item.target == DATA_ROOT), None)
    remake = f"on the host: docker rm -f {container.name}; then runnerkit up {host}"
    if mount is None:
        return fail("in the container itself: lost with it", f"nothing at {DATA_ROOT}", remake)
    if mount.kind != "bind":
        return fail("in an anonymous volume: lost with the container", mount.source, remake)
    if mount.source != place:
        hint = f"runnerkit up {host} --move-data" if case.facts.system.data_before else remake
        return fail("not where it is configured", f"{mount.source} instead of {place}", hint)
    disk = case.facts.system.data_disk
    if disk is not None and disk.kind in LOST_FILESYSTEMS:
        hint = "set docker.data to a folder on a disk"
        return fail("not on a disk", f"{place} is on {disk.kind}", hint)
    if why := unfit(disk):
        hint = "set docker.data to a folder on ext4 or xfs, then runnerkit up --move-data"
        return warn("on a filesystem that is not fit for it", why, hint)
    inside = case.facts.inside
    if inside is None or inside.data_seen is None:
        return unknown("dind's view of it could not be read")
    if inside.data_seen != inside.data_there:
        there = "another directory" if inside.data_there else "nothing"
        return fail(
            "moved or deleted under the running daemon",
            f"{place} is {there} now",
            restart_dind(case),
        )
    if kept := case.facts.system.data_kept:
        return ok(f"{place}; the former data is still in {kept}")
    return ok(place)


def one_daemon(case: Case) -> Finding:
    """No other daemon or container works in the data-root."""
    outer = case.facts.outer
    if isinstance(outer, DaemonUnavailable):
        return skip("the host's engine does not answer")
    place = str(case.desired.paths.data)
    if outer.data_root == place:
        return fail("the host's own engine works in it", place, "set docker.data to another folder")
    own = {item.name for item in outer.containers}
    others = [name for name in outer.data_users if name not in own]
    if others:
        hint = f"on the host: docker stop {others[0]}"
        return fail(f"{', '.join(others)} uses the data-root, too", place, hint)
    return ok("nobody else uses the data-root")


def oom(case: Case) -> Finding:
    """No build was killed for lack of memory within the last hour."""
    if not running(case, DIND):
        return skip("dind is not running")
    inside, container = case.facts.inside, find_container(case.facts, DIND)
    if inside is None or inside.oom_kills is None:
        return skip("the host's kernel log cannot be read")
    # The kernel's log outlives containers; what came before this one was started is past.
    age = seconds_up(case, container) if container else None
    limit = OOM_SECONDS if age is None else min(OOM_SECONDS, age)
    recent = sorted(kill for kill in inside.oom_kills if kill[0] < limit)
    if recent:
        seconds, program = recent[0]
        hint = "raise runner.step_memory or docker.memory, or lower runner.capacity"
        return warn(
            "builds were killed for lack of memory",
            f"{len(recent)} in the last hour, {program} {ago(seconds)} ago",
            hint,
        )
    return ok("none in the last hour")


def leftovers(case: Case) -> Finding:
    """Nothing of builds is left that should have been removed."""
    inner, clock = case.facts.inner, case.facts.system.clock
    if not isinstance(inner, DaemonFacts):
        return skip("the runner's daemon does not answer")
    if clock is None:
        return skip("the host does not tell its time")
    labelled = [("container", item.name, item.labels) for item in inner.containers]
    labelled += [(item.kind, item.name, item.labels) for item in (*inner.volumes, *inner.networks)]
    old = [
        f"{kind} {name}" for kind, name, labels in labelled
        if _expiry(labels) is not None and clock - (_expiry(labels) or 0) > LEFTOVER_SECONDS
    ]  # fmt: skip
    if old:
        kind, _, name = old[0].partition(" ")
        hint = f"runnerkit docker {case.desired.host} -- {kind} rm {name}"
        shown = ", ".join(old[:3]) + (", …" if len(old) > 3 else "")
        return warn(f"{len(old)} left behind by builds that ended", shown, hint)
    return ok("none")


def _expiry(labels: object) -> int | None:
    value = labels.get("io.drone.expires", "") if isinstance(labels, dict) else ""
    return int(value) if value.isdigit() else None


CHECKS = (dind, dind_api, storage_driver, data_root, one_daemon, oom, leftovers)
