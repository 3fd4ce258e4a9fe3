"""Data flows one way, and effects have their own modules."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "runnerkit"
MODULES = {path.stem: path for path in PACKAGE.glob("*.py")}

PURE = {
    "addresses", "config", "config_model", "config_problems", "config_text", "config_values",
    "daemon_facts", "image_ref", "runner_env", "desired", "envfile", "errors", "facts", "gc_policy",
    "health", "manifest", "packages", "paths", "plan", "scaffold", "secret", "settings", "shell",
    "target", "traits", "units",
}  # fmt: skip
EFFECTFUL_LIBRARIES = {
    "docker", "fabric", "http", "paramiko", "python_on_whales", "requests", "socket", "subprocess",
    "threading", "time", "urllib.request",
}  # fmt: skip
SHELL = {"cli", "progress", "roads", "apply", "probe", "server_probe", "loading", "output"}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("module", sorted(PURE))
def test_pure_modules_import_nothing_that_acts(module: str) -> None:
    found = imports(MODULES[module])
    assert not found & EFFECTFUL_LIBRARIES
    assert not {name for name in found if name.partition(".")[0] in EFFECTFUL_LIBRARIES}
    assert not found & {f"runnerkit.{name}" for name in SHELL | {"transport", "docker_port"}}


def importers(library: str) -> set[str]:
    return {
        name
        for name, path in MODULES.items()
        if any(item == library or item.startswith(f"{library}.") for item in imports(path))
    }


@pytest.mark.parametrize("libraries", [("fabric", "paramiko"), ("docker", "python_on_whales")])
def test_each_way_out_has_one_module(libraries: tuple[str, ...]) -> None:
    assert len(set().union(*(importers(library) for library in libraries))) == 1


def test_only_the_executor_and_its_road_change_a_host() -> None:
    assert importers("runnerkit.apply") <= {"roads", "progress"}
