"""What is left to do on a host besides its files, for programs that do it themselves."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from runnerkit.change.actions import (
    Action,
    Drain,
    InstallDocker,
    MakeDirectory,
    PreloadImage,
    PullImage,
    StartDocker,
    StartServices,
    WriteFile,
    WriteManifest,
)
from runnerkit.change.manifest import parse_manifest
from runnerkit.change.packages import Installation
from runnerkit.change.plan import DIRECTORY_MODE, Plan
from runnerkit.desired.state import ManagedFile
from runnerkit.paths import MANIFEST, SOCKETS

SCHEMA_VERSION = 1


def work_list(plan: Plan, directory: str, files: Collection[ManagedFile]) -> dict[str, Any]:
    """The files as they were rendered, and the rest of `plan`, step by step.

    `install`, `drain`, `generation` and `start` are null where there is nothing to do; `other`
    names what has no place in the list, and only `runnerkit up` does. No content, so no secret.
    """
    work: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "host": plan.host,
        "lock": str(SOCKETS),
        "blockers": [f"{item.message}; {item.hint}" for item in plan.blockers],
        "install": None,
        "pull": [],
        "directory": {"path": directory, "mode": f"{DIRECTORY_MODE:04o}"},
        "files": [
            {"name": file.name, "mode": f"{file.mode:04o}", "secret": file.secret} for file in files
        ],
        "drain": None,
        "generation": None,
        "start": None,
        "preload": [],
        "other": [],
    }
    for action in plan.actions:
        _add(work, action)
        if isinstance(action, WriteManifest):
            work["generation"] = _generation(action, files)
    return work


def work_list_json(plan: Plan, directory: str, files: Collection[ManagedFile]) -> str:
    """The work list as `render --json` prints it."""
    return json.dumps(work_list(plan, directory, files), indent=2)


def _generation(action: WriteManifest, files: Collection[ManagedFile]) -> dict[str, Any]:
    manifest = parse_manifest(next(file.content for file in files if file.name == MANIFEST))
    return {
        "number": manifest.generation if manifest else 1,
        "keep": action.keep,
        "images": list(action.images),
    }


def _add(work: dict[str, Any], action: Action) -> None:
    match action:
        case InstallDocker(installation=Installation(packages=packages, repository=repository)):
            work["install"] = {"packages": list(packages), "repository": repository}
        case StartDocker() | MakeDirectory() | WriteFile() | WriteManifest():
            pass  # whoever does the list starts the engine, makes the directory, copies all files
        case PullImage(ref=ref):
            work["pull"].append(ref)
        case Drain(paths=paths, container=container, timeout_seconds=seconds):
            work["drain"] = {
                "sockets": str(paths.sockets),
                "container": container,
                "timeout_seconds": seconds,
            }
        case StartServices(paths=paths, services=services, timeout_seconds=seconds):
            work["start"] = {
                "sockets": str(paths.sockets),
                "services": list(services),
                "timeout_seconds": seconds,
            }
        case PreloadImage(paths=paths, ref=ref):
            work["preload"].append({"socket": str(paths.docker_socket), "ref": ref})
        case _:
            work["other"].append(action.title)
