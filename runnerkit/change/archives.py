"""Image archives on this machine, as `docker save` writes them."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

from runnerkit.config.image_ref import familiar
from runnerkit.errors import ActionError


def choose_archives(directory: Path, refs: Iterable[str]) -> tuple[Path, ...]:
    """The archives (`*.tar`, `*.tar.gz`, …) in `directory` that bring all of `refs`.

    Raises ActionError when one is in none of them, before anything is sent.
    """
    archives = sorted(path for path in directory.glob("*.tar*") if path.is_file())
    contents = {archive: _references(archive) for archive in archives}
    chosen: list[Path] = []
    for ref in refs:
        holder = next((path for path, held in contents.items() if familiar(ref) in held), None)
        if holder is None:
            raise ActionError(
                f"{ref} is in none of the {len(archives)} image archives in {directory}",
                hint=f"docker save {ref} -o {directory}/NAME.tar",
            )
        chosen.append(holder)
    return tuple(dict.fromkeys(chosen))


def _references(archive: Path) -> frozenset[str]:
    """Every name that the archive's manifest.json gives to its images."""
    try:
        with tarfile.open(archive) as tar:
            member = tar.extractfile("manifest.json")
            images = json.load(member) if member else []
        return frozenset(tag for image in images for tag in image.get("RepoTags") or ())
    except (OSError, tarfile.TarError, KeyError, ValueError, AttributeError, TypeError):
        return frozenset()  # some other archive; a missing reference is told by name
