"""`pipeline init`: what it writes for each kind of project, and that lint has nothing to say."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerkit.errors import ConfigError
from runnerkit.pipeline.detect import Listing, detect
from runnerkit.pipeline.dockerfile import parse_dockerfile
from runnerkit.pipeline.drone import parse
from runnerkit.pipeline.files import template
from runnerkit.pipeline.kinds import Database, Language
from runnerkit.pipeline.lint import lint
from runnerkit.pipeline.project import Project
from runnerkit.pipeline.scaffold import image_name, scaffold

PACKAGE = '{"packageManager": "yarn@4.9.2", "scripts": {"build": "b", "lint": "l", "test": "t"}}'
CARGO = '[package]\nname = "greet"\nversion = "1.0.0"\n'
# Kinds of projects by what their folders hold.
PROJECTS: dict[str, tuple[Language, dict[str, str]]] = {
    "go": (Language.GO, {"go.mod": "module greet\n\ngo 1.23.4\n", "main.go": "package main\n"}),
    "go with commands": (Language.GO, {"go.mod": "module x\n", "go.sum": "", "cmd/x": ""}),
    "go library": (Language.GO, {"go.mod": "module x\n", "x.go": "package x\n", "cmd": ""}),
    "rust": (Language.RUST, {"Cargo.toml": CARGO, "Cargo.lock": "", "src/main.rs": ""}),
    "rust library": (Language.RUST, {"Cargo.toml": CARGO, "src/lib.rs": "", ".cargo": ""}),
    "rust workspace": (Language.RUST, {"Cargo.toml": "[workspace]\nmembers = ['a']\n"}),
    "rust by path": (
        Language.RUST,
        {"Cargo.toml": f"{CARGO}[dependencies]\na = {{path = 'a'}}\n", "src/main.rs": ""},
    ),
    "uv": (Language.UV, {"pyproject.toml": "[project]\nname = 'x'\n", "uv.lock": ""}),
    "uv with ruff": (
        Language.UV,
        {"pyproject.toml": "dev = ['ruff', 'pytest']", "uv.lock": "", ".python-version": "3.12.1"},
    ),
    "pip": (Language.PIP, {"requirements.txt": "flask\n", "app.py": ""}),
    "pip with dev": (
        Language.PIP,
        {"requirements.txt": "flask\n", "requirements-dev.txt": "pytest\nruff\n"},
    ),
    "pyproject": (Language.PIP, {"pyproject.toml": "[project]\nname = 'x'\n"}),
    "npm": (Language.NPM, {"package.json": "{}", "package-lock.json": ""}),
    "npm without a lock": (Language.NPM, {"package.json": PACKAGE, ".nvmrc": "v20.1.0\n"}),
    "yarn": (Language.YARN, {"package.json": "{}", "yarn.lock": ""}),
    "yarn berry": (Language.YARN, {"package.json": PACKAGE, "yarn.lock": ""}),
    "yarn with settings": (
        Language.YARN,
        {"package.json": "{}", "yarn.lock": "", ".yarnrc.yml": ""},
    ),
    "pnpm": (Language.PNPM, {"package.json": PACKAGE, "pnpm-lock.yaml": ""}),
    "apt": (Language.APT, {"apt.txt": "curl\n", "run.sh": ""}),
    "make": (Language.APT, {"Makefile": "lint:\n\t:\ntest: build\nbuild:\n\t:\nX := y\n"}),
    "shell": (Language.APT, {"greet.sh": ""}),
    "apk": (Language.APK, {"apk.txt": "curl\n", "Makefile": "all:\n"}),
}
LIBRARIES = {"go library", "rust library", "rust workspace"}
WITH_DEV = {kind for kind, (language, _) in PROJECTS.items() if language in ("pip", "uv")}
OPTIONS = [
    *itertools.product([None, *Database], [None, "registry.lan:5000/team/greet:cache", "auto"])
]


def listing(files: dict[str, str], name: str = "greet") -> Listing:
    return Listing(name, frozenset(files), files)


@pytest.mark.parametrize("kind", PROJECTS)
def test_the_kind_of_project_is_told_by_its_files(kind: str) -> None:
    language, files = PROJECTS[kind]
    assert detect(listing(files)) is language


@pytest.mark.parametrize(("database", "registry"), OPTIONS)
@pytest.mark.parametrize("kind", PROJECTS)
def test_what_is_written_is_complete_and_lint_has_nothing_to_say(
    kind: str, database: Database | None, registry: str | None
) -> None:
    language, files = PROJECTS[kind]
    texts = scaffold(language, listing(files), template, database=database, cache_registry=registry)
    assert not [text for text in texts.values() if re.search(r"@[a-z]+@", text)]
    file = parse_dockerfile(texts["Dockerfile"])
    assert {"base", "lint", "test", "build"} <= {stage.name for stage in file.stages}
    [pipeline] = parse(texts[".drone.yml"])
    project = Project(
        {"Dockerfile": file}, texts[".drone.yml"], (pipeline,), texts[".dockerignore"]
    )
    assert lint(project) == ()
    steps = [step.name for step in pipeline.steps]
    assert steps == [
        "lint",
        "test-image",
        *(["database-ready"] if database else []),
        "test",
        *(["push-cache"] if registry else []),
        "build" if kind in LIBRARIES else "image",
    ]
    assert len(file.stages) == (4 if kind in LIBRARIES else 5) + (kind in WITH_DEV)
    assert [step.name for step in pipeline.services] == (["database"] if database else [])


@pytest.mark.parametrize("kind", PROJECTS)
def test_every_cache_mount_of_a_list_is_explained(kind: str) -> None:
    language, files = PROJECTS[kind]
    lines = scaffold(language, listing(files), template)["Dockerfile"].splitlines()
    first = next(number for number, line in enumerate(lines) if "type=cache" in line)
    assert any(line.startswith("#") for line in lines[max(first - 3, 0) : first])


def dockerfile_of(files: dict[str, str]) -> str:
    return scaffold(detect(listing(files)), listing(files), template)["Dockerfile"]


@pytest.mark.parametrize(
    ("files", "copy"),
    [
        ({"go.mod": "", "go.sum": ""}, "COPY go.mod go.sum ./"),
        ({"go.mod": "replace a => ./a\n"}, "COPY go.mod ./\nCOPY a/go.* a/"),
        (
            {"go.mod": "", "go.work": "go 1.24\nuse (\n\t.\n\t./b/c\n)\n"},
            "COPY go.mod go.work ./\nCOPY b/c/go.* b/c/",
        ),
        (
            {"package.json": "{}", "package-lock.json": "", ".npmrc": ""},
            "COPY package.json package-lock.json .npmrc ./",
        ),
        (
            {"package.json": "{}", "yarn.lock": "", ".yarnrc.yml": "", ".yarn": ""},
            "COPY package.json yarn.lock .yarnrc.yml ./\nCOPY .yarn .yarn",
        ),
        (
            {"package.json": "{}", "pnpm-lock.yaml": "", "pnpm-workspace.yaml": ""},
            "COPY package.json pnpm-lock.yaml pnpm-workspace.yaml ./",
        ),
        (
            {"requirements.txt": "-r requirements/base.txt\n-c limits.txt\n", "limits.txt": ""},
            "COPY requirements.txt limits.txt ./\nCOPY requirements/base.txt requirements/",
        ),
    ],
)
def test_all_that_the_installer_reads_is_copied_before_the_sources(
    files: dict[str, str], copy: str
) -> None:
    assert f"\n{copy}\n" in dockerfile_of(files)


def test_a_module_outside_of_the_folder_cannot_be_built() -> None:
    with pytest.raises(ConfigError, match=r"takes \.\./a, which lies outside"):
        dockerfile_of({"go.mod": "replace a => ../a\n"})


@pytest.mark.parametrize(
    ("settings", "corepack", "packed"),
    [
        ("", True, True),
        ("nodeLinker: node-modules\n", True, False),
        ("yarnPath: .yarn/releases/yarn-4.9.2.cjs\nnodeLinker: 'pnpm'\n", False, False),
    ],
)
def test_yarn_is_the_one_that_the_repository_wants(
    settings: str, corepack: bool, packed: bool
) -> None:
    files = {"package.json": PACKAGE, "yarn.lock": "", ".yarnrc.yml": settings, "index.js": ""}
    text = dockerfile_of(files)
    assert ("corepack enable" in text) is corepack
    assert ("YARN_ENABLE_GLOBAL_CACHE=false" in text) is packed
    assert ('CMD ["node", "-r", "./.pnp.cjs", "index.js"]' in text) is packed


@pytest.mark.parametrize(
    ("folder", "name"),
    [("greet", "greet"), ("My App_2", "my-app-2"), ("--", "app"), ("Ünï", "n"), (".", "app")],
)
def test_a_folder_names_its_image(folder: str, name: str) -> None:
    assert image_name(folder) == name


@given(st.text())
def test_any_folder_names_an_image(folder: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", image_name(folder))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"README.md": ""}, "nothing in greet tells"),
        ({"web/package.json": "{}"}, "nothing in greet itself tells"),
        ({"poetry.lock": "", "pyproject.toml": ""}, "of Poetry, for which there is no template"),
        ({"pyproject.toml": "[tool.x]\n"}, "names no dependencies"),
        ({"Cargo.toml": "["}, "Cargo.toml is no TOML"),
        ({"Cargo.toml": "[package]\nname = 'a; rm -rf /'\n"}, "cannot name a program"),
        ({"package.json": "{"}, "package.json is no JSON"),
        ({"package.json": "[]"}, "package.json should hold an object"),
    ],
)
def test_a_project_that_cannot_be_used_is_an_error(files: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        scaffold(detect(listing(files)), listing(files), template)


@pytest.mark.parametrize("reference", ["greet", "a b/c", "https://registry.lan/greet", "$X/y"])
def test_a_cache_needs_a_registry(reference: str) -> None:
    files = {"go.mod": ""}
    with pytest.raises(ConfigError, match="no image in a registry"):
        scaffold(Language.GO, listing(files), template, cache_registry=reference)


# --- the command ----------------------------------------------------------------------------------


def kit(*arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "runnerkit", "pipeline", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode == expect, done.stderr
    return done


def test_init_shows_a_diff_and_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module greet\n")
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    done = kit("init", str(tmp_path), "--dry-run")
    assert not (tmp_path / ".drone.yml").exists()
    assert "nothing was written; missing: .dockerignore, .drone.yml" in done.stdout
    done = kit("init", str(tmp_path))
    assert (tmp_path / "Dockerfile").read_text() == "FROM scratch\n"
    assert "Dockerfile is there already and stays as it is" in done.stderr
    assert "\n+# How " in done.stderr
    written = f"{tmp_path}/.dockerignore, {tmp_path}/.drone.yml"
    assert f"wrote {written}; next: runnerkit pipeline lint {tmp_path}" in done.stdout
    (tmp_path / "Dockerfile").unlink()
    kit("init", str(tmp_path))
    assert kit("lint", str(tmp_path)).stdout == "nothing to complain about\n"
    assert "nothing was written; missing: nothing" in kit("init", str(tmp_path)).stdout


def test_a_folder_of_a_repository_gets_a_pipeline_at_the_top(tmp_path: Path) -> None:
    for folder, file in (("api", "go.mod"), ("web", "package.json")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text("{}" if folder == "web" else "module x\n")
    (tmp_path / ".git").mkdir()
    done = kit("init", str(tmp_path), expect=2)
    assert "hint: write them for a folder in it: api, web" in done.stderr
    kit("init", str(tmp_path / "api"))
    pipeline = (tmp_path / ".drone.yml").read_text()
    assert "name: api\n" in pipeline
    assert "docker build --progress=plain --target=lint api\n" in pipeline
    assert kit("lint", str(tmp_path)).stdout == "nothing to complain about\n"

    done = kit("init", str(tmp_path / "web"))
    assert "+---\n" in done.stderr
    assert "\n+name: web\n" in done.stderr
    assert "/.drone.yml is there already and stays as it is" in done.stderr
    assert (tmp_path / ".drone.yml").read_text() == pipeline
    assert (tmp_path / "web/Dockerfile").exists()
    assert not (tmp_path / "web/.drone.yml").exists()


def test_init_of_what_is_no_project(tmp_path: Path) -> None:
    done = kit("init", str(tmp_path), expect=2)
    assert "--language" in done.stderr
    assert "is no directory" in kit("init", str(tmp_path / "not-there"), expect=2).stderr


def test_lint_exits_by_what_it_finds_and_fix_mends_it(tmp_path: Path) -> None:
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(
        "# syntax=docker/dockerfile:1\r\nFROM debian\r\n"
        "RUN --mount=type=cache,target=/var/cache/apt apt-get update && apt-get install -y git\r\n",
        newline="",
    )
    dockerfile.chmod(0o640)
    found = json.loads(kit("lint", str(tmp_path), "--format", "json", expect=1).stdout)["findings"]
    assert [x["rule"] for x in found] == ["custom-syntax", "cache-sharing", "docker-clean"]
    done = kit("lint", str(tmp_path), "--fix")
    assert done.stdout == "nothing to complain about\n"
    assert "-# syntax=docker/dockerfile:1" in done.stderr
    assert dockerfile.read_bytes() == (
        b"FROM debian\r\nRUN --mount=type=cache,target=/var/cache/apt,sharing=locked"
        b" rm -f /etc/apt/apt.conf.d/docker-clean && apt-get update && apt-get install -y git\r\n"
    )
    assert dockerfile.stat().st_mode & 0o777 == 0o640
    dockerfile.write_text("# syntax=docker/dockerfile:1\nFROM debian\n")
    assert "1 note" in kit("lint", str(tmp_path)).stdout
