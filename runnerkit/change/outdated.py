"""Whether a running service read the files that it should have. Pure.

A service reads its file once, when it starts. Where somebody edits the file and restarts the
service, writing the file anew leaves the service with what it read: it has to start again.
"""

from __future__ import annotations

from collections.abc import Mapping

from runnerkit.facts.daemon import ContainerFacts, unix_time
from runnerkit.facts.host import HostFacts


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


def _started_before(container: ContainerFacts, moment: int) -> bool:
    try:
        return bool(container.started_at) and unix_time(container.started_at or "") < moment
    except ValueError:
        return False
