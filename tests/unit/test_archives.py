from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from runnerkit.change.archives import choose_archives
from runnerkit.errors import ActionError


def save(path: Path, *tags: str, mode: str = "w") -> Path:
    """An archive such as `docker save` makes, without the layers."""
    content = json.dumps([{"Config": "x.json", "RepoTags": list(tags), "Layers": []}]).encode()
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        member = tarfile.TarInfo("manifest.json")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return path


def test_only_archives_that_are_needed_are_chosen_each_once(tmp_path: Path) -> None:
    both = save(tmp_path / "a.tar", "docker:28-dind", "drone/git:latest")
    save(tmp_path / "b.tar", "golang:1.24")
    assert choose_archives(tmp_path, ["docker:28-dind", "docker.io/drone/git"]) == (both,)


def test_compressed_archives_are_read_too(tmp_path: Path) -> None:
    archive = save(tmp_path / "a.tar.gz", "golang:1.24", mode="w:gz")
    assert choose_archives(tmp_path, ["golang:1.24"]) == (archive,)


def test_a_missing_image_is_named_before_anything_is_sent(tmp_path: Path) -> None:
    save(tmp_path / "a.tar", "golang:1.24")
    (tmp_path / "notes.tar").write_text("no archive at all")
    with pytest.raises(ActionError, match="drone/git:1 is in none of the 2") as caught:
        choose_archives(tmp_path, ["golang:1.24", "drone/git:1"])
    assert str(caught.value.hint).startswith("docker save drone/git:1")
