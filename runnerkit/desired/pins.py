"""Image references held to digests, so that a tag that moves changes nothing. Pure.

A host's pins lie in its own `.env`, as `name:tag@sha256:…`: whoever renders the files for that
host, by whichever road, finds the same ones there, and a generation brings its own back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from runnerkit.config.image_ref import familiar


@dataclass(frozen=True)
class Pins:
    """What a host knows of digests.

    `in_force` maps references to the digests in its `.env`; `held` maps each tag that its engine
    has to the digests under which that image came from a registry, none for one from an archive.
    """

    in_force: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def moved(self) -> Pins:
        """The same, but what is in force holds only while its tag still means that image."""
        kept = {ref: x for ref, x in self.in_force.items() if x in self.held.get(familiar(ref), ())}
        return Pins(kept, self.held)

    def pinned(self, ref: str) -> str:
        """`ref` with its digest: the one in force, else the one held; as it is without any."""
        if "@" in ref:
            return ref
        held = self.held.get(familiar(ref), ())
        digest = self.in_force.get(ref) or next(iter(held), None)
        return f"{ref}@{digest}" if digest else ref


def pins_of(env: bytes | None, images: Mapping[str, str]) -> Pins:
    """Read a host's `.env`, and all references that its engine has with their image ids."""
    refs = (ref.partition("@") for ref in images_in_force(env).values())
    return Pins({ref: digest for ref, at, digest in refs if at}, dict(_held(images)))


def images_in_force(env: bytes | None) -> Mapping[str, str]:
    """Variable to reference, for each image that a `.env` names."""
    lines = (line.partition("=") for line in (env or b"").decode(errors="replace").splitlines())
    return {name: value for name, _, value in lines if name.endswith("_IMAGE")}


def _held(images: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    digests: dict[tuple[str, str], list[str]] = {}
    for ref, image in images.items():
        name, at, digest = ref.partition("@")
        if at:
            digests.setdefault((name, image), []).append(digest)
    for ref, image in images.items():
        if "@" not in ref:
            # Sorted, so that of several digests of one image everybody chooses the same.
            yield ref, tuple(sorted(digests.get((ref.rpartition(":")[0], image), ())))
