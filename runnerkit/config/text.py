"""The text of runnerkit.yml to plain values: YAML 1.2, without its traps. Pure.

Checked on the syntax tree, before any value is built: keys that stand twice, and anchors that
hold themselves or unfold into more than a configuration can be. Messages give lines and keys,
never values: one of them may be a secret that does not belong there.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

from runnerkit.errors import ConfigError, Problem

MAX_DEPTH = 40
MAX_NODES = 50_000

_SCALARS = (str, bool, int, float)


def parse_yaml(text: str, name: str) -> dict[str, Any]:
    """The mapping that `text` holds, made of plain mappings, lists and scalars.

    Raises ConfigError for everything else; `name` is what messages call the file.
    """
    from ruamel.yaml import YAML  # noqa: PLC0415 - costs 30 ms
    from ruamel.yaml.error import MarkedYAMLError  # noqa: PLC0415

    try:
        root = YAML(typ="safe", pure=True).compose(io.StringIO(text))
        _check_tree(root, name)
        content = YAML(typ="safe", pure=True).load(io.StringIO(text))
    except ConfigError:
        raise
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(
            f"{name} is not YAML{place}: {_harmless(error.problem or error.context)}",
            hint="look at the indentation and the quotes there, and in the line before",
        ) from None
    except RecursionError:
        raise _too_deep(name) from None
    except Exception as error:  # noqa: BLE001 - the parser lets all kinds out on broken input
        raise ConfigError(
            f"{name} is not YAML that can be read ({type(error).__name__})",
            hint="put dates and other special values in quotes",
        ) from None
    if content is None:
        raise ConfigError(f"{name} is empty", hint="runnerkit init USER@HOST --server URL")
    if not isinstance(content, dict):
        raise ConfigError(
            f"{name} holds no keys at the top", hint="it begins with lines like server: and hosts:"
        )
    problems = tuple(_special_values(content, ""))
    if problems:
        raise ConfigError(f"{name} is wrong", problems=problems)
    return content


def _too_deep(name: str) -> ConfigError:
    return ConfigError(
        f"{name} is nested too deeply, or an anchor holds itself",
        hint=f"no configuration is nested more than {MAX_DEPTH} deep",
    )


def _check_tree(root: Any, name: str) -> None:
    sizes: dict[int, int] = {}
    problems: list[Problem] = []

    def size(node: Any, path: str, depth: int, open_nodes: frozenset[int]) -> int:
        """Nodes below `node` once every alias is unfolded."""
        if depth > MAX_DEPTH or id(node) in open_nodes:
            raise _too_deep(name)
        if id(node) not in sizes:
            children = list(_children(node, path, problems))
            inside = open_nodes | {id(node)}
            sizes[id(node)] = 1 + sum(size(x, at, depth + 1, inside) for x, at in children)
        return sizes[id(node)]

    if root is not None and size(root, "", 0, frozenset()) > MAX_NODES:
        raise ConfigError(
            f"{name} unfolds into too many values", hint="use fewer aliases (*name) of aliases"
        )
    if problems:
        raise ConfigError(f"{name} is wrong", problems=tuple(problems))


def _children(node: Any, path: str, problems: list[Problem]) -> Iterator[tuple[Any, str]]:
    if not isinstance(node.value, list):
        return
    first: dict[str, int] = {}
    for item in node.value:
        if not isinstance(item, tuple):
            yield item, path
            continue
        key, value = item
        line = key.start_mark.line + 1
        place = path
        if isinstance(key.value, str) and key.value != "<<":
            place = f"{path}.{step(key.value)}" if path else step(key.value)
            if key.value in first:
                lines = f"in line {first[key.value]} and in line {line}"
                hint = "keep one of them; every key, and so every host, stands once"
                problems.append(Problem(place, f"stands twice, {lines}", hint))
            first[key.value] = line
        yield key, path
        yield value, place


def _special_values(value: Any, path: str) -> Iterator[Problem]:
    """Where YAML made something that is neither text, number, list nor mapping."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                yield Problem(path, "has a key that is not text", "put the key in quotes")
            elif not key.startswith("x-"):
                yield from _special_values(item, f"{path}.{step(key)}" if path else step(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _special_values(item, f"{path}.{index}")
    elif value is not None and type(value) not in _SCALARS:
        yield Problem(path, "is a special YAML value, such as a date or a set", "put it in quotes")


def step(key: object) -> str:
    """One step of a path as it is shown: strange keys quoted and cut, all of it printable."""
    text = str(key)
    return text if re.fullmatch(r"[A-Za-z0-9_.-]{1,80}", text) else ascii(text[:80])


def _harmless(message: object) -> str:
    """The parser's words without what it quotes from the file, besides single signs."""
    text = (str(message or "").strip().splitlines() or ["it cannot be read"])[0]
    return ascii(re.sub(r"([\"'])(?!<)(?!.{1,2}\1).*\1", "(something)", text))[1:-1]
