"""No language of its own: packages of a distribution, and what make or the shell does. Pure."""

from __future__ import annotations

from runnerkit.pipeline.detect import Listing
from runnerkit.pipeline.recipes.filling import Filling, Values, exec_form


def apt(listing: Listing) -> Filling:
    """Scripts or a Makefile, with packages of Debian."""
    install = "apt-get install --yes --no-install-recommends"
    return Filling("apt.Dockerfile", _plain(listing, ("apt.txt", "Aptfile"), install))


def apk(listing: Listing) -> Filling:
    """Scripts or a Makefile, with packages of Alpine."""
    return Filling("apk.Dockerfile", _plain(listing, ("apk.txt",), "apk add"))


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
        "run": exec_form(f"./{start}") if start else exec_form("sh"),
        "ignored": "tmp",
    }
