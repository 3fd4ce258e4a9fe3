"""What the templates of each language are filled with, told by the project's files. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from runnerkit.errors import ConfigError
from runnerkit.pipeline.detect import Language, Listing

Values = dict[str, str]

GO, PYTHON, NODE = "1.24", "3.13", "22"
PYTHON_LISTS = ("requirements-dev.txt", "requirements-test.txt", "dev-requirements.txt")
MAINS = ("main.py", "app.py", "manage.py", "__main__.py")
NODE_MAINS = ("server.js", "index.js", "main.js", "app.js", "src/index.js", "src/main.js")


def recipe(language: Language, listing: Listing) -> tuple[str, Values]:
    """The Dockerfile template of a language and the values for its places."""
    template, values = RECIPES[language]
    return template, values(listing)


def _go(listing: Listing) -> Values:
    version = re.search(r"^go (\d+\.\d+)", listing.text("go.mod"), re.MULTILINE)
    commands = sorted(x for x in listing.paths if re.fullmatch(r"cmd/[^/]+", x))
    at_root = not commands or "package main" in listing.text("main.go")
    return {
        "image": f"golang:{version[1] if version else GO}",
        "lists": " ".join(x for x in ("go.mod", "go.sum") if listing.has(x)),
        "package": "." if at_root else f"./{commands[0]}",
        "ignored": "*.test",
    }


def _rust(listing: Listing) -> Values:
    cargo = listing.toml("Cargo.toml")
    package = _table(cargo, "package")
    targets = cargo.get("bin")
    first = targets[0] if isinstance(targets, list) and targets else {}
    binary = _word(_table({"bin": first}, "bin").get("name") or package.get("name"), "app")
    locked = " --locked" if listing.has("Cargo.lock") else ""
    # Without sources Cargo finds neither other targets nor crates at a path.
    simple = not {"workspace", "bin", "lib"} & set(cargo) and package and not _by_path(cargo)
    main = next((x for x in ("src/main.rs", "src/lib.rs") if listing.has(x)), "")
    return {
        "image": "rust:1-slim-trixie",
        "locked": locked,
        "binary": binary,
        "fetch": _fetch(listing, main, locked) if simple and main else "",
        "ignored": "target",
    }


def _fetch(listing: Listing, main: str, locked: str) -> str:
    lists = " ".join(x for x in ("Cargo.toml", "Cargo.lock") if listing.has(x))
    settings = "COPY .cargo .cargo\n" if listing.has(".cargo") else ""
    return (
        "# Dependencies before sources: this layer stays until they change. An empty source stands"
        " in,\n# as Cargo wants one.\n"
        f"COPY {lists} ./\n{settings}"
        "RUN --mount=type=cache,id=cargo-registry,target=/usr/local/cargo/registry \\\n"
        f"    mkdir src && touch {main} && cargo fetch{locked} && rm -r src\n"
    )


def _by_path(cargo: Mapping[str, Any]) -> bool:
    tables = (_table(cargo, x) for x in ("dependencies", "dev-dependencies", "build-dependencies"))
    return any(isinstance(x, dict) and "path" in x for table in tables for x in table.values())


def _pip(listing: Listing) -> Values:
    values = _python(listing)
    dev = next((x for x in PYTHON_LISTS if listing.has(x)), "")
    has_list = listing.has("requirements.txt")
    program = (
        "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))"
        "['project'].get('dependencies', []), sep='\\n')"
    )
    install = (
        "pip install -r requirements.txt"
        if has_list
        else f'python -c "{program}" >/tmp/requirements.txt && \\\n'
        "    pip install -r /tmp/requirements.txt"
    )
    return values | {
        "lists": "requirements.txt" if has_list else "pyproject.toml",
        "install": install,
        "dev": f"# What only lint and test need.\nCOPY {dev} ./\n"
        "RUN --mount=type=cache,id=pip,target=/root/.cache/pip \\\n"
        f"    pip install -r {dev}\n"
        if dev
        else "",
    }


def _python(listing: Listing) -> Values:
    asked = re.match(r"\d+\.\d+", listing.text(".python-version"))
    version = asked[0] if asked else PYTHON
    known = "\n".join(
        listing.text(x) for x in ("requirements.txt", "pyproject.toml", "requirements-dev.txt")
    )
    main = next((x for x in MAINS if listing.has(x)), "")
    module = re.sub(r"\W", "_", listing.name)
    return {
        "version": version,
        "image": f"python:{version}-slim",
        "lint": "ruff check ." if re.search(r"\bruff\b", known) else "python -m compileall -q .",
        "test": "python -m pytest"
        if re.search(r"\bpytest\b", known)
        else "python -m unittest discover -v",
        "run": _exec("python", main) if main else _exec("python", "-m", module),
        "ignored": "**/__pycache__\n.venv\n.pytest_cache",
    }


def _npm(listing: Listing) -> Values:
    locked = listing.has("package-lock.json")
    return _node(listing, "npm", "/root/.npm", "npm ci" if locked else "npm install") | {
        "lists": "package.json package-lock.json" if locked else "package.json"
    }


def _yarn(listing: Listing) -> Values:
    manager = str(listing.package().get("packageManager") or "")
    berry = listing.has(".yarnrc.yml") or re.match(r"yarn@[2-9]", manager)
    if not berry:
        cache, install = "/usr/local/share/.cache/yarn", "yarn install --frozen-lockfile"
        return _node(listing, "yarn", cache, install) | {"lists": "package.json yarn.lock"}
    settings = " .yarnrc.yml" if listing.has(".yarnrc.yml") else ""
    values = _node(listing, "yarn", "/root/.yarn/berry/cache", "yarn install --immutable")
    return values | {
        "lists": f"package.json yarn.lock{settings}",
        "prepare": "# The version that package.json names.\nRUN corepack enable\n",
    }


def _pnpm(listing: Listing) -> Values:
    values = _node(listing, "pnpm", "/pnpm/store", "pnpm install --frozen-lockfile")
    prepare = (
        "# pnpm keeps its store below this folder.\nENV PNPM_HOME=/pnpm\nRUN corepack enable\n"
    )
    return values | {"lists": "package.json pnpm-lock.yaml", "prepare": prepare}


def _node(listing: Listing, manager: str, cache: str, install: str) -> Values:
    package = listing.package()
    scripts = _table(package, "scripts")
    asked = re.match(r"v?(\d+)", listing.text(".nvmrc").strip())
    main = package.get("main") or next((x for x in NODE_MAINS if listing.has(x)), "index.js")
    check = (
        "find . -name '*.js' -not -path './node_modules/*' -print0 | xargs -0 -r -n 1 node --check"
    )
    tidy = "npm prune --omit=dev" if manager == "npm" else ""
    steps = [f"{manager} run build" if "build" in scripts else "", tidy]
    return {
        "image": f"node:{asked[1] if asked else NODE}-slim",
        "manager": manager,
        "cache": cache,
        "install": install,
        "prepare": "",
        "lint": f"{manager} run lint" if "lint" in scripts else check,
        "test": f"{manager} test" if "test" in scripts else "node --test",
        "build": " && ".join(step for step in steps if step) or "node --version",
        "run": _exec("node", str(main)),
        "ignored": "**/node_modules",
    }


def _apt(listing: Listing) -> Values:
    return _plain(listing, ("apt.txt", "Aptfile"), "apt-get install --yes --no-install-recommends")


def _apk(listing: Listing) -> Values:
    return _plain(listing, ("apk.txt",), "apk add")


def _plain(listing: Listing, lists: tuple[str, ...], install: str) -> Values:
    found = next((x for x in lists if listing.has(x)), "")
    targets = listing.targets()
    make = bool(listing.text("Makefile"))
    shells = "find . -name '*.sh' -print0 | xargs -0 -r -n 1 sh -n"
    tests = "for test in $(find . -name '*test*.sh'); do sh $test; done"
    start = next((x for x in ("run.sh", "main.sh", "start.sh") if listing.has(x)), "")
    copy = f"# Packages before sources: this layer stays until they change.\nCOPY {found} ./\n"
    return {
        "list": copy if found else "",
        "install": f"{install} $(grep -v '^#' {found})" if found else f"{install} make",
        "lint": "make lint" if "lint" in targets else shells,
        "test": "make test" if "test" in targets else tests,
        "build": ("make build" if "build" in targets else "make") if make else "ls",
        "run": _exec(f"./{start}") if start else _exec("sh"),
        "ignored": "tmp",
    }


def _exec(*words: str) -> str:
    return json.dumps(list(words))


def _table(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def _word(value: object, otherwise: str) -> str:
    """A name that comes from a file, if it can stand in a command as it is."""
    if value is None:
        return otherwise
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", value):
        raise ConfigError(f"{value!r} cannot name a program")
    return value


RECIPES: Mapping[Language, tuple[str, Callable[[Listing], Values]]] = {
    Language.GO: ("go.Dockerfile", _go),
    Language.RUST: ("rust.Dockerfile", _rust),
    Language.UV: ("uv.Dockerfile", _python),
    Language.PIP: ("pip.Dockerfile", _pip),
    Language.PNPM: ("node.Dockerfile", _pnpm),
    Language.YARN: ("node.Dockerfile", _yarn),
    Language.NPM: ("node.Dockerfile", _npm),
    Language.APK: ("apk.Dockerfile", _apk),
    Language.APT: ("apt.Dockerfile", _apt),
}
