"""Whether a running service read the files that it should have. Pure.

A service reads its file once, when it starts. Where somebody edits the file and restarts the
service, writing the file anew leaves the service with what it read: it has to start again.
"""

from __future__ import annotations

from collections.abc import Mapping

from runnerkit.change.actions import HaltServices
from runnerkit.desired.state import DesiredState
from runnerkit.facts.daemon import ContainerFacts, unix_time
from runnerkit.facts.host import HostFacts, find_container
from runnerkit.paths import DIGEST_LABEL


def outdated(digests: Mapping[str, str], facts: HostFacts, container: ContainerFacts) -> str | None:
    """Why `container` may not have read what `digests` tell of its files; None when it did.

    `digests` maps names of the stack's files to the SHA-256 that they should have.
    """
    for file in facts.mounted:
        if file.service != container.service or file.name not in digests:
            continue
        if _started_before(container, file.written):
            return f"{file.name} was edited while {file.service} ran, which may have read another"
        if file.sha256 != digests[file.name]:
            return f"{file.service} was started with another {file.name}"
    return None


def halts(desired: DesiredState, facts: HostFacts) -> tuple[HaltServices, ...]:
    """The services that have to stop for a moment: `docker compose up` alone would leave them."""
    digests = {file.name: file.sha256 for file in desired.files}
    reasons = {}
    for name in desired.services:
        container = find_container(facts, name)
        if container is None or container.labels.get(DIGEST_LABEL) != desired.services[name]:
            continue  # it is made anew
        if container.state == "restarting":
            # Docker waits longer from time to time before it tries again; compose does not.
            reasons[name] = f"{name} is restarting"
        elif why := outdated(digests, facts, container):
            reasons[name] = why
    if not reasons:
        return ()
    return (HaltServices(desired.paths, "; ".join(reasons.values()), tuple(reasons)),)


def _started_before(container: ContainerFacts, moment: int) -> bool:
    try:
        return bool(container.started_at) and unix_time(container.started_at or "") < moment
    except ValueError:
        return False
