"""Rust: crates before sources, and a target folder in a cache mount. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runnerkit.pipeline.detect import Listing
from runnerkit.pipeline.recipes.filling import Filling, plain_word, table


def rust(listing: Listing) -> Filling:
    """A Cargo package or workspace."""
    cargo = listing.toml("Cargo.toml")
    package = table(cargo, "package")
    targets = cargo.get("bin")
    first = targets[0] if isinstance(targets, list) and targets else {}
    binary = plain_word(table({"bin": first}, "bin").get("name") or package.get("name"), "app")
    take = f" && \\\n    cp target/release/{binary} /app" if _is_program(listing) else ""
    locked = " --locked" if listing.has("Cargo.lock") else ""
    # Without sources Cargo finds neither other targets nor crates at a path.
    simple = not {"workspace", "bin", "lib"} & set(cargo) and package and not _by_path(cargo)
    main = next((x for x in ("src/main.rs", "src/lib.rs") if listing.has(x)), "")
    values = {
        "image": "rust:1-slim-trixie",
        "locked": locked,
        "binary": binary,
        "take": take,
        "fetch": _fetch(listing, main, locked) if simple and main else "",
        "ignored": "target",
    }
    return Filling("rust.Dockerfile", values, has_program=_is_program(listing))


def _is_program(listing: Listing) -> bool:
    """Whether the folder's own crate is a program; members of a workspace do not count."""
    return listing.has("src/main.rs") or bool(listing.toml("Cargo.toml").get("bin"))


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
    tables = (table(cargo, x) for x in ("dependencies", "dev-dependencies", "build-dependencies"))
    return any(isinstance(x, dict) and "path" in x for table in tables for x in table.values())
