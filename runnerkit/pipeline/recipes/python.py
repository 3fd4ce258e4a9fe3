"""Python: a virtual environment in one layer, its downloads in a cache mount. Pure."""

from __future__ import annotations

import posixpath
import re

from runnerkit.errors import ConfigError
from runnerkit.pipeline.detect import Listing
from runnerkit.pipeline.recipes.filling import Filling, Values, exec_form

VERSION = "3.13"
DEV_LISTS = ("requirements-dev.txt", "requirements-test.txt", "dev-requirements.txt")
MAINS = ("main.py", "app.py", "manage.py", "__main__.py")


def uv(listing: Listing) -> Filling:
    """A project with a uv.lock."""
    return Filling("uv.Dockerfile", _python(listing))


def pip(listing: Listing) -> Filling:
    """A project with requirements.txt, or with pyproject.toml alone."""
    values = _python(listing)
    if not listing.has("requirements.txt") and "project" not in listing.toml("pyproject.toml"):
        raise ConfigError(
            "pyproject.toml names no dependencies, as it has no [project]",
            hint="write them there, or into requirements.txt",
        )
    dev = next((x for x in DEV_LISTS if listing.has(x)), "")
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
    own = {
        "lists": _lists(listing) if has_list else "COPY pyproject.toml ./",
        "install": install,
        "dev": f"# What only lint and test need.\nCOPY {dev} ./\n"
        "RUN --mount=type=cache,id=pip,target=/root/.cache/pip \\\n"
        f"    pip install -r {dev}\n"
        if dev
        else "",
    }
    return Filling("pip.Dockerfile", values | own)


def _lists(listing: Listing) -> str:
    """COPY for requirements.txt and for those that it names."""
    named = re.findall(r"^-[rc] *([\w./-]+)", listing.text("requirements.txt"), re.MULTILINE)
    beside = " ".join(["requirements.txt", *(x for x in named if "/" not in x)])
    below = (f"COPY {x} {posixpath.dirname(x)}/" for x in named if "/" in x)
    return "\n".join([f"COPY {beside} ./", *below])


def _python(listing: Listing) -> Values:
    asked = re.match(r"\d+\.\d+", listing.text(".python-version"))
    version = asked[0] if asked else VERSION
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
        "run": exec_form("python", main) if main else exec_form("python", "-m", module),
        "ignored": "**/__pycache__\n.venv\n.pytest_cache",
    }
