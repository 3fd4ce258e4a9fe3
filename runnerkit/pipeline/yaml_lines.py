"""YAML in which every value knows its line, read as the types that the reader expects.

Scalars arrive as they are written: Drone decodes `1.10` into a string as `1.10`, not as 1.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import yaml

from runnerkit.errors import ConfigError

_NULL = "tag:yaml.org,2002:null"
# What go-yaml reads as true into a bool.
_TRUE = frozenset({"true", "yes", "on", "y"})
_FALSE = frozenset({"false", "no", "off", "n", ""})


class PipelineError(ConfigError):
    """A pipeline file that Drone could not use; `line` counts from 1."""

    def __init__(self, message: str, line: int, *, hint: str | None = None) -> None:
        super().__init__(f"line {line}: {message}", hint=hint)
        self.what = message
        self.line = line


class Text(str):
    """A scalar as it stands in its file, and the line on which it begins, counting from 1."""

    __slots__ = ("line",)
    line: int

    def __new__(cls, value: str, line: int) -> Self:
        """`value` on `line`."""
        text = super().__new__(cls, value)
        text.line = line
        return text


@dataclass(frozen=True)
class Section:
    """A mapping of a file. A key that is missing or null reads as the empty value of its type.

    Reading a key as a type that it does not have raises PipelineError with its line.
    """

    line: int
    entries: dict[str, tuple[int, yaml.Node]]

    def line_of(self, key: str) -> int:
        """The line of `key`; the section's own when it is not there."""
        return self.entries[key][0] if key in self.entries else self.line

    def text(self, key: str) -> Text:
        """A scalar, as written."""
        if (node := self._node(key)) is None:
            return Text("", self.line_of(key))
        return _text(node, key)

    def texts(self, key: str) -> tuple[Text, ...]:
        """A list of scalars."""
        return tuple(_text(item, key) for item in self._items(key))

    def flag(self, key: str) -> bool:
        """A YAML 1.1 boolean."""
        text = self.text(key)
        if text.lower() not in _TRUE | _FALSE:
            raise PipelineError(f"{key} should be true or false", text.line)
        return text.lower() in _TRUE

    def number(self, key: str) -> int:
        """A whole number; 0 when missing."""
        text = self.text(key)
        if text and not text.isdigit():
            raise PipelineError(f"{key} should be a number", text.line)
        return int(text or 0)

    def section(self, key: str) -> Section:
        """A mapping."""
        if (node := self._node(key)) is None:
            return Section(self.line_of(key), {})
        return section_of(node, key)

    def sections(self, key: str) -> tuple[Section, ...]:
        """A list of mappings."""
        return tuple(section_of(item, key) for item in self._items(key))

    def value(self, key: str) -> Any:
        """Whatever it is, with YAML's own types."""
        node = self._node(key)
        return None if node is None else _construct(node)

    def is_section(self, key: str) -> bool:
        """Whether `key` holds a mapping."""
        return isinstance(self._node(key), yaml.MappingNode)

    def is_list(self, key: str) -> bool:
        """Whether `key` holds a list."""
        return isinstance(self._node(key), yaml.SequenceNode)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._node(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def _node(self, key: str) -> yaml.Node | None:
        _, node = self.entries.get(key, (0, None))
        return None if node is None or node.tag == _NULL else node

    def _items(self, key: str) -> list[yaml.Node]:
        node = self._node(key)
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            raise PipelineError(f"{key} should be a list", _line(node))
        return list(node.value)


def read_documents(text: str) -> tuple[Section, ...]:
    """Every document of `text` that holds something. Raises PipelineError."""
    try:
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise PipelineError(f"no YAML: {error.problem or error.context}", line) from None
    except yaml.YAMLError as error:
        raise PipelineError(f"no YAML: {error}", 1) from None
    return tuple(section_of(node, "a document") for node in nodes if node and node.tag != _NULL)


def section_of(node: yaml.Node, what: str) -> Section:
    """`node` as a mapping; merge keys (`<<`) are carried out. Raises PipelineError."""
    if not isinstance(node, yaml.MappingNode):
        raise PipelineError(f"{what} should be a mapping", _line(node))
    try:
        yaml.constructor.SafeConstructor().flatten_mapping(node)
    except yaml.MarkedYAMLError as error:
        raise PipelineError(f"no YAML: {error.problem}", _line(node)) from None
    entries = {str(key.value): (_line(key), value) for key, value in node.value}
    return Section(_line(node), entries)


def _text(node: yaml.Node, key: str) -> Text:
    if not isinstance(node, yaml.ScalarNode):
        kind = "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
        raise PipelineError(f"{key} should be text, not {kind}", _line(node))
    return Text(node.value if node.tag != _NULL else "", _line(node))


def _construct(node: yaml.Node) -> Any:
    try:
        return yaml.constructor.SafeConstructor().construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise PipelineError(f"no YAML: {error.problem}", _line(node)) from None


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
