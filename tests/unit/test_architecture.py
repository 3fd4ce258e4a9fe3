"""Data flows one way, and effects have their own modules."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "runnerkit"


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {_name(path): path for path in PACKAGE.rglob("*.py")}

# Who may import whom: only what stands further up, or in the same place.
ORDER = [
    {"", "errors", "secret", "shell", "paths", "target", "units"},
    {"config"},
    {"pipeline"},
    {"desired"},
    {"facts"},
    {"tuning"},
    {"cache"},
    {"reach"},
    {"engine"},
    {"collect"},
    {"change"},
    {"health"},
    {"bench"},
    {"report", "dashboards"},
    {"roads"},
    {"watching"},
    {"tune_roads"},
    {"exporter"},
    {"moves"},
    {"lifecycle"},
    {"cache_roads", "data_roads"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
RANK = {place: rank for rank, places in enumerate(ORDER) for place in places}

# The modules that act; every other one is pure.
SHELL = {
    "cli", "roads", "config.loading", "change.apply", "change.archives", "change.copying",
    "change.draining", "change.lock", "change.pulling", "change.remote", "change.trial",
    "collect.probe",
    "collect.drone_api", "collect.server_probe", "engine.asking", "engine.dial_stdio",
    "engine.own_docker", "engine.port",
    "exporter", "report.files", "report.live", "report.progress", "watching",
    "commands.status",
    "pipeline.files",
    "pipeline.checkout", "pipeline.execute", "pipeline.runs", "engine.steps",
    "commands.pipeline_run", "report.pipeline_run",
    "commands.configure", "commands.look", "commands.shared", "reach.forwarding",
    "reach.host_keys", "reach.local", "reach.programs", "reach.ssh", "reach.ssh_channels",
    "reach.ssh_failures", "reach.ssh_login", "reach.ssh_wire", "reach.streams",
}  # fmt: skip
EFFECTFUL_LIBRARIES = {
    "concurrent", "docker", "fabric", "http", "os", "paramiko", "python_on_whales", "requests",
    "shutil", "socket", "subprocess", "tempfile", "threading", "time",
}  # fmt: skip


def imports(module: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(module: str) -> set[str]:
    """The modules of runnerkit that this one imports."""
    found = set()
    for name in imports(module):
        if name.partition(".")[0] != "runnerkit":
            continue
        own = name.removeprefix("runnerkit").removeprefix(".")
        found.add(own if own in MODULES else own.rpartition(".")[0])
    return found


def importers(library: str) -> set[str]:
    return {
        module
        for module in MODULES
        if any(item == library or item.startswith(f"{library}.") for item in imports(module))
    }


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_one_way(module: str) -> None:
    here = module.partition(".")[0]
    places = {name.partition(".")[0] for name in own_imports(module)}
    assert {place for place in places if place != here and RANK[place] > RANK[here]} == set()


@pytest.mark.parametrize("module", sorted(set(MODULES) - SHELL))
def test_pure_modules_import_nothing_that_acts(module: str) -> None:
    assert not {name for name in imports(module) if name.partition(".")[0] in EFFECTFUL_LIBRARIES}


@pytest.mark.parametrize("module", sorted(m for m in MODULES if m.startswith("health.")))
def test_judging_reads_facts_and_reaches_nothing(module: str) -> None:
    places = {name.partition(".")[0] for name in own_imports(module)}
    assert not places & {"reach", "engine", "collect"}
    assert "change.apply" not in own_imports(module)


@pytest.mark.parametrize(
    "library", ["fabric", "docker", "python_on_whales", "e2b_dockerfile_utils"]
)
def test_each_way_out_has_one_module(library: str) -> None:
    assert len(importers(library)) == 1


def test_only_what_makes_and_keeps_a_connection_knows_paramiko() -> None:
    assert importers("paramiko") == {"reach.ssh", "reach.ssh_login", "reach.ssh_wire"}


def test_only_the_executor_and_its_road_change_a_host() -> None:
    assert importers("runnerkit.change.apply") == {"roads"}
