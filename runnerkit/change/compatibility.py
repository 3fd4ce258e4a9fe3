"""Whether one daemon can take over from another: refused or warned, in words. Pure.

Sources: moby at the tags named, daemon/config, daemon/image_store_choice.go, builder-next.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from runnerkit.change.packages import version_tuple
from runnerkit.config.image_ref import familiar
from runnerkit.desired.pins import images_in_force
from runnerkit.desired.state import DIND, DesiredState, ServiceName
from runnerkit.facts.daemon import DaemonFacts, DaemonUnavailable
from runnerkit.facts.host import HostFacts, find_container
from runnerkit.paths import COMPOSE_FILE, DAEMON_FILE, ENV_FILE

# What drone-runner-docker 1.5.0 to 1.8.4 speak, without negotiating.
RUNNER_API = (1, 40)
OLDEST_ENGINE = (20, 10)
NEWEST_KNOWN = (29,)

OTHER_IMAGE = "choose another image, or give it an empty folder with docker.data"

GRAPH_DRIVERS = frozenset({"overlay2", "fuse-overlayfs", "vfs", "btrfs", "zfs"})


@dataclass(frozen=True)
class Compatibility:
    """What stands against a change of the daemon, and what should be known about it."""

    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def tag_version(ref: str) -> tuple[int, ...]:
    """The engine version that an image's tag tells: `docker:28.5-dind` is (28, 5); () for none."""
    tag = ref.partition("@")[0].rpartition("/")[2].partition(":")[2]
    return version_tuple(tag) if re.match(r"\d{2}(\.|-|$)", tag) else ()


def changed_images(desired: DesiredState, facts: HostFacts) -> tuple[ServiceName, ...]:
    """The services that have a container now, and would get one of another image."""
    present = facts.outer.images if isinstance(facts.outer, DaemonFacts) else {}
    changed = []
    for name, ref in desired.images.items():
        container = find_container(facts, name)
        if container is None or container.image == ref:
            continue
        if present.get(familiar(ref)) != container.image_id:
            changed.append(name)
    return tuple(changed)


def gate(desired: DesiredState, facts: HostFacts, *, move_data: bool = False) -> Compatibility:
    """What `up` has to know before dind starts on the data that is there.

    Nothing where it begins without data, unless `move_data` brings it along. A daemon that does
    not answer has the version that the tag of its image tells.
    """
    data, env = facts.system.data_before, facts.system.file(ENV_FILE)
    before = images_in_force(env.content if env else None).get("DIND_IMAGE", "")
    if data is None or not (move_data or data == str(desired.paths.data)):
        return Compatibility()
    inner = facts.inner if isinstance(facts.inner, DaemonFacts) else None
    driver = inner.storage_driver if inner else ""
    if before.partition("@")[0] == desired.images[DIND].partition("@")[0]:
        # The engine has proved that it works with its data; another driver would not.
        return Compatibility(tuple(_driver(driver, desired)))
    old = version_tuple(inner.version) if inner else tag_version(before)
    return _compared(old, driver, tag_version(desired.images[DIND]), desired)


def compatibility(
    now: DaemonFacts | DaemonUnavailable, then: tuple[int, ...], desired: DesiredState
) -> Compatibility:
    """What changes when an engine of version `then` starts on the data of the one that runs now.

    Each side may be unknown: a daemon that does not answer, an empty version.
    """
    if not isinstance(now, DaemonFacts):
        return _compared((), "", then, desired)
    return _compared(version_tuple(now.version), now.storage_driver, then, desired)


def _compared(
    old: tuple[int, ...], driver: str, then: tuple[int, ...], desired: DesiredState
) -> Compatibility:
    refusals = [*_api(then, desired), *_data(old, then, driver, desired)]
    return Compatibility(tuple(refusals), tuple(_warnings(old, then, driver)))


def _api(then: tuple[int, ...], desired: DesiredState) -> Iterator[str]:
    if then and then < OLDEST_ENGINE:
        yield (
            f"engine {_dotted(then)} is older than 20.10, the oldest that understands "
            "the daemon.json that runnerkit writes"
        )
    # 29.0 to 29.2 answer from API 1.44 on unless told otherwise; 29.3 went back to 1.40.
    if (29,) <= then < (29, 3) and _api_floor(desired) > RUNNER_API:
        yield (
            f"engine {_dotted(then)} refuses API 1.40, which is all that the runner speaks, and "
            "compose.yml does not lower its DOCKER_MIN_API_VERSION"
        )


def _api_floor(desired: DesiredState) -> tuple[int, ...]:
    services = yaml.safe_load(desired.file(COMPOSE_FILE).content)["services"]
    environment = services[DIND].get("environment") or {}
    return version_tuple(str(environment.get("DOCKER_MIN_API_VERSION", "1.44")))


def _data(
    old: tuple[int, ...], then: tuple[int, ...], driver: str, desired: DesiredState
) -> Iterator[str]:
    yield from _driver(driver, desired)
    if not old or not then or then[: len(old)] >= old[: len(then)]:
        return
    if driver and driver not in GRAPH_DRIVERS and then < (29,):
        yield (
            f"engine {_dotted(old)} keeps its images in containerd's store ({driver}), which "
            f"engine {_dotted(then)} does not read: every image and cache would be out of sight"
        )
    if old >= (23,) > then:
        yield (
            f"engine {_dotted(then)} does not read the build cache of engine {_dotted(old)} "
            "(BuildKit changed its format between 20.10 and 23.0): caches would be lost, with the "
            "disk still full of them"
        )


def _driver(driver: str, desired: DesiredState) -> Iterator[str]:
    wanted = json.loads(desired.file(DAEMON_FILE).content).get("storage-driver")
    if driver and wanted and wanted != driver:
        yield (
            f"its data is in the format of the storage driver {driver}, not {wanted}: every image "
            "and cache would be out of sight, with the disk still full of them"
        )


def _warnings(old: tuple[int, ...], then: tuple[int, ...], driver: str) -> Iterator[str]:
    if not then:
        yield "the image's tag tells no version; it is asked once the image is on the host"
        return
    if then[:1] > NEWEST_KNOWN:
        yield f"engine {_dotted(then)} is newer than any that runnerkit knows"
    if not old:
        return
    if then[: len(old)] < old[: len(then)]:
        yield (
            f"this goes back from engine {_dotted(old)} to {_dotted(then)}, "
            "which Docker does not promise to work; caches may be lost"
        )
    if old < (28,) <= then:
        yield (
            "from engine 28 on the cache also shrinks to leave cache.min_free free on the disk, "
            "so it may be smaller after the first build"
        )
    if old < (29,) <= then and driver in GRAPH_DRIVERS:
        yield (
            f"engine 29 keeps {driver} on this data; only on an empty disk does it begin with "
            "containerd's store, which older engines cannot read"
        )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
