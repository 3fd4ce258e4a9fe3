"""`.drone.yml` as it is written: the Docker pipelines of the file, typed, each part with its line.

The shape is that of drone-runner-docker 1.8.4, engine/resource/pipeline.go: what the runner would
refuse to decode is an error here, what it would ignore is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runnerkit.pipeline.globs import matches
from runnerkit.pipeline.yaml_lines import PipelineError, Section, Text, read_documents

__all__ = ["PipelineError", "Text", "parse", "untyped"]

FILE_NAME = ".drone.yml"


@dataclass(frozen=True)
class FromSecret:
    """A value that Drone's secret store holds."""

    name: Text


@dataclass(frozen=True)
class Condition:
    """Include and exclude patterns; an exclusion wins, and no inclusion means everything."""

    include: tuple[Text, ...] = ()
    exclude: tuple[Text, ...] = ()

    def matches(self, value: str) -> bool:
        """Whether `value` satisfies the condition."""
        if any(matches(pattern, value) for pattern in self.exclude):
            return False
        return not self.include or any(matches(pattern, value) for pattern in self.include)


Conditions = Mapping[str, Condition]


@dataclass(frozen=True)
class Mount:
    """A volume's place in a step; also a device's."""

    line: int
    name: Text
    path: Text


@dataclass(frozen=True)
class Volume:
    """A path of the daemon's filesystem (`host`), or a volume of the pipeline's own (`temp`)."""

    line: int
    name: Text
    host: Text | None
    temp: bool
    medium: Text
    size_limit: Text


@dataclass(frozen=True)
class Step:
    """A step, or a service. `lines` has the line of each key that is written there."""

    line: int
    name: Text
    image: Text
    lines: Mapping[str, int]
    commands: tuple[Text, ...]
    command: tuple[Text, ...]
    entrypoint: tuple[Text, ...]
    environment: Mapping[str, Text | FromSecret]
    settings: Mapping[str, Any]
    """A FromSecret, or whatever YAML makes of the value."""
    volumes: tuple[Mount, ...]
    devices: tuple[Mount, ...]
    depends_on: tuple[Text, ...]
    when: Conditions
    detach: bool
    privileged: bool
    pull: Text
    failure: Text
    user: Text
    working_dir: Text
    network_mode: Text
    dns: tuple[Text, ...]
    dns_search: tuple[Text, ...]
    extra_hosts: tuple[Text, ...]
    mem_limit: Text
    memswap_limit: Text
    shm_size: Text

    def line_of(self, key: str) -> int:
        """The line of `key`; the step's own when it is not there."""
        return self.lines.get(key, self.line)


@dataclass(frozen=True)
class Clone:
    """How the sources get into the workspace."""

    disable: bool
    depth: int
    skip_verify: bool
    trace: bool


@dataclass(frozen=True)
class Pipeline:
    """One `kind: pipeline` and `type: docker` document."""

    line: int
    name: Text
    os: Text
    arch: Text
    steps: tuple[Step, ...]
    services: tuple[Step, ...]
    volumes: tuple[Volume, ...]
    clone: Clone
    environment: Mapping[str, Text]
    workspace_base: Text
    workspace_path: Text
    node: Mapping[str, Text]
    trigger: Conditions
    depends_on: tuple[Text, ...]
    pull_secrets: tuple[Text, ...]
    lines: Mapping[str, int]

    @property
    def title(self) -> str:
        """Its name; Drone calls one without a name `default`."""
        return str(self.name) or "default"

    def volume(self, name: str) -> Volume | None:
        """The volume called `name`; of several the first, as in the runner."""
        return next((volume for volume in self.volumes if volume.name == name), None)


def parse(text: str) -> tuple[Pipeline, ...]:
    """The Docker pipelines of a `.drone.yml`; other documents are passed over.

    Raises PipelineError, with the line, for what is no YAML or has the wrong type.
    """
    documents = read_documents(text)
    return tuple(
        _pipeline(document)
        for document in documents
        if (document.text("kind"), document.text("type")) == ("pipeline", "docker")
    )


def untyped(text: str) -> tuple[int, ...]:
    """The lines of `kind: pipeline` in documents that name no type. Raises PipelineError."""
    return tuple(
        document.line_of("kind")
        for document in read_documents(text)
        if document.text("kind") == "pipeline" and not document.text("type")
    )


def _pipeline(document: Section) -> Pipeline:
    platform, workspace = document.section("platform"), document.section("workspace")
    clone, environment = document.section("clone"), document.section("environment")
    return Pipeline(
        line=document.line,
        name=document.text("name"),
        os=platform.text("os"),
        arch=platform.text("arch"),
        steps=tuple(_step(step, "step") for step in document.sections("steps")),
        services=tuple(_step(step, "service") for step in document.sections("services")),
        volumes=tuple(_volume(volume) for volume in document.sections("volumes")),
        clone=Clone(
            clone.flag("disable"),
            clone.number("depth"),
            clone.flag("skip_verify"),
            clone.flag("trace"),
        ),
        environment={key: environment.text(key) for key in environment},
        workspace_base=workspace.text("base"),
        workspace_path=workspace.text("path"),
        node={key: document.section("node").text(key) for key in document.section("node")},
        trigger=_conditions(document.section("trigger")),
        depends_on=document.texts("depends_on"),
        pull_secrets=document.texts("image_pull_secrets"),
        lines=_lines(document),
    )


def _step(step: Section, kind: str) -> Step:
    name = step.text("name")
    if not name:
        raise PipelineError(f"a {kind} without a name", step.line, hint="give it a `name:`")
    environment, settings = step.section("environment"), step.section("settings")
    return Step(
        line=step.line,
        name=name,
        image=step.text("image"),
        lines=_lines(step),
        commands=step.texts("commands"),
        command=step.texts("command"),
        entrypoint=step.texts("entrypoint"),
        environment={
            key: _from_secret(environment, key) or environment.text(key)
            for key in environment
            if key in environment
        },
        settings={key: _from_secret(settings, key) or settings.value(key) for key in settings},
        volumes=_mounts(step, "volumes"),
        devices=_mounts(step, "devices"),
        depends_on=step.texts("depends_on"),
        when=_conditions(step.section("when")),
        detach=step.flag("detach"),
        privileged=step.flag("privileged"),
        pull=step.text("pull"),
        failure=step.text("failure"),
        user=step.text("user"),
        working_dir=step.text("working_dir"),
        network_mode=step.text("network_mode"),
        dns=step.texts("dns"),
        dns_search=step.texts("dns_search"),
        extra_hosts=step.texts("extra_hosts"),
        mem_limit=step.text("mem_limit"),
        memswap_limit=step.text("memswap_limit"),
        shm_size=step.text("shm_size"),
    )


def _volume(volume: Section) -> Volume:
    temp, host = volume.section("temp"), volume.section("host")
    return Volume(
        line=volume.line,
        name=volume.text("name"),
        host=host.text("path") if "host" in volume else None,
        temp="temp" in volume,
        medium=temp.text("medium"),
        size_limit=temp.text("size_limit"),
    )


def _mounts(step: Section, key: str) -> tuple[Mount, ...]:
    return tuple(
        Mount(item.line, item.text("name"), item.text("path")) for item in step.sections(key)
    )


def _from_secret(section: Section, key: str) -> FromSecret | None:
    if not section.is_section(key) or "from_secret" not in section.section(key):
        return None
    return FromSecret(section.section(key).text("from_secret"))


def _conditions(section: Section) -> Conditions:
    return {key: _condition(section, key) for key in section if key in section}


def _condition(section: Section, key: str) -> Condition:
    if section.is_section(key):
        inner = section.section(key)
        return Condition(inner.texts("include"), inner.texts("exclude"))
    if section.is_list(key):
        return Condition(section.texts(key))
    return Condition((section.text(key),))


def _lines(section: Section) -> dict[str, int]:
    return {key: section.line_of(key) for key in section}
