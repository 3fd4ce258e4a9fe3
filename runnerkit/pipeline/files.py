"""A repository's files, read for linting and written by init and by fixes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from runnerkit.errors import ConfigError
from runnerkit.pipeline.detect import READ, Listing
from runnerkit.pipeline.dockerfile import parse_dockerfile
from runnerkit.pipeline.drone import FILE_NAME, Pipeline, PipelineError, parse
from runnerkit.pipeline.project import Project

LARGEST = 1 << 20


def load_project(folder: Path, *, trusted: bool = True) -> Project:
    """Read .drone.yml, .dockerignore and every Dockerfile that is there or built by a step.

    Raises ConfigError when there is neither, or when one of them cannot be read.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no directory", hint="runnerkit pipeline lint DIR")
    drone = read_text(folder / FILE_NAME)
    pipelines = _pipelines(drone or "")
    named = {build.dockerfile for build in Project(pipelines=pipelines).builds} - {""}
    paths = {x.name for x in folder.iterdir() if _is_dockerfile(x)}
    paths |= {path for path in named if not path.startswith(("..", "/"))}
    texts = {path: read_text(folder / path) for path in sorted(paths)}
    files = {path: parse_dockerfile(x, path) for path, x in texts.items() if x is not None}
    if drone is None and not files:
        raise ConfigError(
            f"there is neither a Dockerfile nor a {FILE_NAME} in {folder}",
            hint=f"runnerkit pipeline init {folder}",
        )
    return Project(files, drone, pipelines, read_text(folder / ".dockerignore"), trusted)


def _pipelines(text: str) -> tuple[Pipeline, ...]:
    try:
        return parse(text)
    except PipelineError as error:
        raise ConfigError(f"{FILE_NAME}:{error.line}: {error.what}", hint=error.hint) from None


def _is_dockerfile(path: Path) -> bool:
    name = path.name
    return (name == "Dockerfile" or name.startswith("Dockerfile.")) and path.is_file()


def read_text(path: Path) -> str | None:
    """A file's text with its line ends as they are; None when there is no such file."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ConfigError(f"{path} is larger than a megabyte")
        return content.decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


def survey(folder: Path) -> Listing:
    """What is in a folder, as far as it tells the kind of project. Raises ConfigError."""
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no directory", hint="runnerkit pipeline init DIR")
    paths = {x.relative_to(folder).as_posix() for level in ("*", "*/*") for x in folder.glob(level)}
    names = {*READ, *(x.name for x in folder.glob("*.go") if x.is_file())}
    texts = {name: read_text(folder / name) for name in names}
    return Listing(
        folder.resolve().name,
        frozenset(path for path in paths if not path.startswith(("node_modules/", ".git/"))),
        {name: text for name, text in texts.items() if text is not None},
    )


def top_of(folder: Path) -> Path:
    """The top of the git repository that a folder lies in; the folder itself outside of any."""
    place = folder.resolve()
    return next((x for x in (place, *place.parents) if (x / ".git").exists()), place)


def template(name: str) -> str:
    """The text of a template of `init`."""
    return (resources.files("runnerkit.pipeline") / "templates" / name).read_text("utf-8")


def create_text(path: Path, text: str) -> None:
    """Write a file that is not there; never replaces one. Raises ConfigError."""
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None


def write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    """Write each file in one step, keeping the mode of one that is there. Raises ConfigError."""
    for name, text in texts.items():
        path = folder / name
        try:
            mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
            with tempfile.NamedTemporaryFile("wb", dir=path.parent, delete=False) as file:
                file.write(text.encode("utf-8"))
                os.fchmod(file.fileno(), mode)
            Path(file.name).replace(path)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
