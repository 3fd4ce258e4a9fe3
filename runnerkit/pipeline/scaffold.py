"""The first Dockerfile, .dockerignore and .drone.yml of a project. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runnerkit.errors import ConfigError
from runnerkit.paths import CACHE_VARIABLE
from runnerkit.pipeline.detect import Listing
from runnerkit.pipeline.kinds import Database, Language
from runnerkit.pipeline.recipes import RECIPES

# Without an address: each runner says where layers are shared.
AUTO = "auto"
PLACE = re.compile(r"@([a-z]+)@")
PATH = re.compile(r"(?:\w[\w./-]*)?", re.ASCII)
REFERENCE = re.compile(r"[a-z0-9][a-z0-9.-]*(?::\d+)?(?:/[a-z0-9][a-z0-9._-]*)+(?::[\w][\w.-]*)?")

Template = Callable[[str], str]


@dataclass(frozen=True)
class _Service:
    image: str
    environment: str
    ready: str
    url: str


# The passwords guard databases that live as long as one pipeline, on its own network.
SERVICES = {
    Database.POSTGRES: _Service(
        "postgres:17",
        "{POSTGRES_PASSWORD: ci}",
        "pg_isready --host=database",
        "postgres://postgres:ci@database:5432/postgres?sslmode=disable",
    ),
    Database.MARIADB: _Service(
        "mariadb:11",
        "{MARIADB_ROOT_PASSWORD: ci, MARIADB_DATABASE: ci}",
        "mariadb-admin --host=database --password=ci ping",
        "mysql://root:ci@database:3306/ci",
    ),
    Database.REDIS: _Service(
        "redis:8", "{}", "redis-cli -h database ping", "redis://database:6379/0"
    ),
}


def scaffold(
    language: Language,
    listing: Listing,
    template: Template,
    *,
    database: Database | None = None,
    cache_registry: str | None = None,
    below: str = "",
) -> dict[str, str]:
    """The three files by name; `template` gives the text of a template by its name.

    `below` is the folder's path in its repository, when it is not the top: .drone.yml, which then
    belongs to the top, builds from there. Raises ConfigError when the project's files, the path or
    the reference cannot be used.
    """
    if not PATH.fullmatch(below):
        raise ConfigError(f"{below!r} cannot stand in a command", hint="name the folder otherwise")
    name = image_name(listing.name)
    sharing = _sharing(cache_registry, name)
    filling = RECIPES[language](listing)
    values = filling.values | {"name": name}
    dockerfile = _filled(template(filling.template), values)
    pipeline = {
        "name": name,
        "services": _services(database),
        "ready": _ready(database),
        "environment": _environment(database),
        "shared": sharing.before,
        "cache": sharing.options,
        "push": _push(sharing),
        "last": "image" if filling.has_program else "build",
        "result": f"--tag {name}:${{DRONE_COMMIT_SHA}}"
        if filling.has_program
        else "--target=build",
        "pipeline": name if below else "default",
        "folder": below or ".",
    }
    return {
        "Dockerfile": dockerfile if filling.has_program else _without_last_stage(dockerfile),
        ".dockerignore": _filled(template("dockerignore"), values),
        ".drone.yml": _filled(template("drone.yml"), pipeline),
    }


def added(pipelines: str | None, more: str) -> str:
    """A .drone.yml with one more pipeline at its end; one that is there already stays alone."""
    if pipelines is None:
        return more
    name = next(line for line in more.splitlines() if line.startswith("name: "))
    if name in pipelines.splitlines():
        return pipelines
    return f"{pipelines.rstrip()}\n---\n{more}"


def _without_last_stage(dockerfile: str) -> str:
    """The last stage is the last paragraph of every template."""
    return dockerfile[: dockerfile.rindex("\n\n") + 1]


def image_name(folder: str) -> str:
    """A folder's name as the name of an image: small letters, digits and single dashes."""
    return re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-") or "app"


def _filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\n{3,}", "\n\n", PLACE.sub(lambda match: values[match[1]], text))


def _services(database: Database | None) -> str:
    if database is None:
        return ""
    service = SERVICES[database]
    settings = "" if service.environment == "{}" else f"\n    environment: {service.environment}"
    return f"services:\n  - name: database\n    image: {service.image}{settings}\n\n"


def _ready(database: Database | None) -> str:
    if database is None:
        return ""
    service = SERVICES[database]
    return (
        "  - name: database-ready\n"
        "    # Drone starts a service and does not wait until it answers.\n"
        f"    image: {service.image}\n"
        "    commands:\n"
        f"      - timeout 120 sh -c 'until {service.ready}; do sleep 1; done'\n\n"
    )


def _environment(database: Database | None) -> str:
    if database is None:
        return ""
    host = "    environment:\n      DATABASE_HOST: database\n"
    return f"{host}      DATABASE_URL: {SERVICES[database].url}\n"


@dataclass(frozen=True)
class _Sharing:
    """How layers are shared between runners: what stands before a build, in it, and pushes it."""

    before: str = ""
    options: str = ""
    push: str = ""


def _sharing(reference: str | None, name: str) -> _Sharing:
    if reference is None:
        return _Sharing()
    if reference == AUTO:
        place = f"${CACHE_VARIABLE}/{name}:cache"
        return _Sharing(
            before="      # Layers of other runners, where this one's registry.cache says that they"
            " are shared.\n"
            f'      - shared=$${{{CACHE_VARIABLE}:+"{_options(place)}"}}\n',
            options=" $shared",
            push=f'test -z "${CACHE_VARIABLE}" || docker push "{place}"',
        )
    if not REFERENCE.fullmatch(reference):
        raise ConfigError(
            f"{reference!r} is no image in a registry",
            hint="e.g. registry.lan:5000/app:cache, or auto for the runner's own registry.cache",
        )
    return _Sharing(options=f" {_options(reference)}", push=f"docker push {reference}")


def _options(reference: str) -> str:
    return f"--cache-from type=registry,ref={reference} --cache-to type=inline --tag {reference}"


def _push(sharing: _Sharing) -> str:
    if not sharing.push:
        return ""
    return (
        "  - name: push-cache\n"
        "    # Layers for other runners, inside of the image: the daemon's own builder can export\n"
        "    # no others. Cache mounts are not among them.\n"
        "    image: docker:cli\n"
        "    volumes: [{name: docker, path: /var/run/docker.sock}]\n"
        "    commands:\n"
        f"      - {sharing.push}\n"
        "    failure: ignore\n"
        "    when: {event: {exclude: [pull_request]}}\n\n"
    )
