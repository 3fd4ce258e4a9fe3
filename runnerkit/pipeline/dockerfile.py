"""A Dockerfile as stages of instructions with their lines. Pure.

The parser is a port of BuildKit's own, with its heredocs, escape directive and JSON forms; only
this module knows it. https://github.com/moby/buildkit/tree/master/frontend/dockerfile
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from runnerkit.errors import ConfigError
from runnerkit.pipeline.shell_text import Command, commands_in, commands_of

INTERPRETED_HEREDOC = re.compile(
    r"(?:(?:/bin/)?(?:ba|da|a)?sh(?: -\w+)*)?\s*(?:<<-?['\"]?\w+['\"]?\s*)+"
)
SYNTAX = re.compile(r"#\s*syntax\s*=\s*(\S+)\s*", re.IGNORECASE)
DIRECTIVE = re.compile(r"#\s*\w+\s*=.*")
VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?-([^}]*))?\})")


class DockerfileError(ConfigError):
    """A Dockerfile that BuildKit would not read either; `line` is where it is wrong."""

    def __init__(self, path: str, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason


@dataclass(frozen=True)
class Mount:
    """One `--mount` of a RUN: its options in the order of the file."""

    options: tuple[tuple[str, str], ...]

    def get(self, *names: str) -> str:
        """The value of the first option of one of these names; empty without one."""
        return next((value for name, value in self.options if name in names), "")

    @property
    def kind(self) -> str:
        """cache, bind, secret, ssh or tmpfs; bind when the type is left out."""
        return self.get("type") or "bind"

    @property
    def target(self) -> str:
        """Where it appears in the build container."""
        return self.get("target", "dst", "destination")


@dataclass(frozen=True)
class Instruction:
    """One instruction; `first` and `last` are its lines, counted from 1."""

    name: str
    flags: tuple[str, ...]
    words: tuple[str, ...]
    json: bool
    heredocs: tuple[str, ...]
    first: int
    last: int

    @cached_property
    def mounts(self) -> tuple[Mount, ...]:
        """The mounts of a RUN."""
        return tuple(_mount(value) for value in self.flag_values("mount"))

    def flag_values(self, name: str) -> tuple[str, ...]:
        """The values of every flag `--name=value`."""
        prefix = f"--{name}="
        return tuple(flag[len(prefix) :] for flag in self.flags if flag.startswith(prefix))

    def flag(self, name: str) -> str:
        """The value of `--name=value`; empty without one."""
        return next(iter(self.flag_values(name)), "")

    @cached_property
    def commands(self) -> tuple[Command, ...]:
        """The commands of a RUN, those of a heredoc that a shell reads included."""
        if self.name != "RUN":
            return ()
        if self.json:
            return commands_in(self.words)
        text = " ".join(self.words)
        if self.heredocs and INTERPRETED_HEREDOC.fullmatch(text):
            return tuple(command for body in self.heredocs for command in commands_of(body))
        return commands_of(text)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Names and values of an ENV or ARG; an ARG without a value has an empty one."""
        if self.name == "ENV":
            return tuple(zip(self.words[0::3], map(_unquoted, self.words[1::3]), strict=False))
        if self.name == "ARG":
            split = (word.partition("=") for word in self.words)
            return tuple((name, _unquoted(value)) for name, _, value in split)
        return ()


@dataclass(frozen=True)
class Stage:
    """One FROM and what follows it."""

    index: int
    name: str
    base: str
    platform: str
    line: int
    instructions: tuple[Instruction, ...]

    def of(self, *names: str) -> Iterator[Instruction]:
        """The instructions of these names."""
        return (item for item in self.instructions if item.name in names)


@dataclass(frozen=True)
class Dockerfile:
    """A whole Dockerfile; `args` are the ARGs before the first FROM with their defaults."""

    path: str
    text: str
    stages: tuple[Stage, ...]
    args: Mapping[str, str] = field(default_factory=dict)
    syntax: str = ""
    syntax_line: int = 0

    def stage(self, name: str) -> Stage | None:
        """The stage called so, or numbered so, as --target and COPY --from name it."""
        for stage in self.stages:
            if stage.name and stage.name == name.lower():
                return stage
        if name.isdecimal() and int(name) < len(self.stages):
            return self.stages[int(name)]
        return None

    def lineage(self, stage: Stage) -> tuple[Stage, ...]:
        """The stages this one begins from, the farthest first, itself last."""
        earlier = [x for x in self.stages[: stage.index] if x.name and x.name == stage.base.lower()]
        return (*(self.lineage(earlier[-1]) if earlier else ()), stage)

    def root_image(self, stage: Stage) -> str:
        """The image that the lineage starts from, with the defaults of ARGs put in."""
        return expand(self.lineage(stage)[0].base, self.args)

    def runs(self) -> Iterator[tuple[Stage, Instruction]]:
        """Every RUN with its stage."""
        return ((stage, item) for stage in self.stages for item in stage.of("RUN"))


def parse_dockerfile(text: str, path: str = "Dockerfile") -> Dockerfile:
    """Read a Dockerfile. Raises DockerfileError where BuildKit would refuse it."""
    from e2b_dockerfile_utils import DockerfileSyntaxError, parse_dockerfile_ast  # noqa: PLC0415

    try:
        parsed = parse_dockerfile_ast(text.removeprefix("\ufeff"))
    except DockerfileSyntaxError as error:
        reason = str(error).partition(": ")[2] or str(error)
        raise DockerfileError(path, error.line or 1, reason) from None
    items = [
        Instruction(
            name=item.name,
            flags=tuple(item.flags),
            words=tuple(item.args),
            json=item.json,
            heredocs=tuple(body.content for body in item.heredocs),
            first=item.start_line,
            last=item.end_line,
        )
        for item in parsed.instructions
    ]
    starts = [place for place, item in enumerate(items) if item.name == "FROM"]
    if not starts:
        raise DockerfileError(path, 1, "there is no FROM")
    head = [item for item in items[: starts[0]] if item.name == "ARG"]
    stages = [
        _stage(number, items[start], items[start + 1 : end])
        for number, (start, end) in enumerate(zip(starts, [*starts[1:], None], strict=True))
    ]
    syntax, line = _syntax(text)
    args = {name: value for item in head for name, value in item.pairs}
    return Dockerfile(path, text, tuple(stages), args, syntax, line)


def expand(text: str, values: Mapping[str, str]) -> str:
    """`text` with the variables that are known put in; what is unknown stays as it is written."""

    def known(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        return values.get(name) or match[3] or match[0]

    return VARIABLE.sub(known, text)


def _stage(index: int, start: Instruction, rest: list[Instruction]) -> Stage:
    words = start.words or ("",)
    named = len(words) == 3 and words[1].upper() == "AS"
    name = words[2].lower() if named else ""
    return Stage(index, name, words[0], start.flag("platform"), start.first, tuple(rest))


def _mount(value: str) -> Mount:
    try:
        fields = next(csv.reader([value]), [])
    except csv.Error:
        fields = value.split(",")
    pairs = (field.partition("=") for field in fields)
    return Mount(tuple((name.strip().lower(), text) for name, _, text in pairs))


def _syntax(text: str) -> tuple[str, int]:
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        found = SYNTAX.fullmatch(line.strip())
        if found:
            return found[1], number
        if not DIRECTIVE.fullmatch(line.strip()):
            break
    return "", 0


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def dockerignore_leaves_out(text: str, path: str) -> bool:
    """Whether a .dockerignore keeps a file out of the build's context."""
    from e2b_dockerfile_utils import PatternMatcher  # noqa: PLC0415

    lines = (line.strip() for line in text.removeprefix("\ufeff").splitlines())
    patterns = [line.lstrip("/") for line in lines if line and not line.startswith("#")]
    try:
        return bool(PatternMatcher(patterns).matches(path))
    except ValueError:
        return False
