"""The sets of files that a host keeps, and what each of them ran."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from runnerkit.change.manifest import Manifest, parse_manifest
from runnerkit.desired.state import DIND, RUNNER, ServiceName


@dataclass(frozen=True)
class Generation:
    """One set of files. `image_ids` says what the references meant then, where that is known.

    `data` is its data-root, as its `.env` writes it.
    """

    manifest: Manifest
    images: Mapping[ServiceName, str]
    image_ids: Mapping[str, str]
    data: str = ""

    @property
    def number(self) -> int:
        """Its place in the order of all that ever were."""
        return self.manifest.generation


def read_generations(answer: str) -> tuple[Generation, ...]:
    """What list_generations.sh answered, oldest first; incomplete ones are left out."""
    found = []
    for line in answer.splitlines():
        try:
            manifest, env, images = (base64.b64decode(field) for field in line.split("\t"))
        except (ValueError, binascii.Error):
            continue
        record = parse_manifest(manifest)
        values = dict(_pairs(env.decode(errors="replace"), "="))
        if record and "DIND_IMAGE" in values and "RUNNER_IMAGE" in values:
            refs: dict[ServiceName, str] = {
                DIND: values["DIND_IMAGE"],
                RUNNER: values["RUNNER_IMAGE"],
            }
            ids = dict(_pairs(images.decode(errors="replace"), " "))
            found.append(Generation(record, refs, ids, values.get("DIND_DATA", "")))
    return tuple(sorted(found, key=lambda item: item.number))


def generation_before(kept: Iterable[Generation], current: int) -> Generation | None:
    """What `rollback` goes to: the one before `current`; None when none is kept.

    A generation that was itself a rollback stands for the one that it restored, so that going
    back twice goes back two steps and not to and fro.
    """
    by_number = {item.number: item for item in kept}
    here = by_number.get(current)
    stands_for = current
    if here is not None and here.manifest.restored_from is not None:
        stands_for = here.manifest.restored_from
    earlier = [number for number in by_number if number < stands_for]
    return by_number[max(earlier)] if earlier else None


def _pairs(text: str, separator: str) -> Iterable[tuple[str, str]]:
    for line in text.splitlines():
        key, found, value = line.partition(separator)
        if found:
            yield key, value
