"""Names and places that a shell, a path or an engine would trip over are refused, in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from runnerkit.config.effective import ConfigFile, effective
from runnerkit.config.problems import problems_of
from runnerkit.errors import ConfigError
from tests.unit.builders import BASE

Put = Callable[[str], dict[str, Any]]

# Nothing that means something to a shell, a glob, an env file or an option parser.
HARMLESS = re.compile(r"[A-Za-z0-9/][A-Za-z0-9._/@:+-]*")


def in_host(**sections: Any) -> dict[str, Any]:
    return BASE | {"hosts": {"forge": {"ssh": "root@forge.lan", **sections}}}


PLACES: dict[str, Put] = {
    "hosts": lambda text: BASE | {"hosts": {text: {"ssh": "root@forge.lan"}}},
    "stack": lambda text: in_host(stack=text),
    "docker.data": lambda text: in_host(docker={"data": text}),
    "docker.image": lambda text: in_host(docker={"image": text}),
    "docker.storage_driver": lambda text: in_host(docker={"storage_driver": text}),
    "docker.preload": lambda text: in_host(docker={"preload": [text]}),
    "runner.name": lambda text: in_host(runner={"name": text}),
    "runner.networks": lambda text: in_host(runner={"networks": [text]}),
    "runner.image": lambda text: in_host(runner={"image": text}),
    "runner.privileged_images": lambda text: in_host(runner={"privileged_images": [text]}),
    "registry.image": lambda text: in_host(registry={"image": text}),
    "registry.listen": lambda text: in_host(registry={"listen": text}),
}
FRAGMENTS = [
    "$(touch x)", "`touch x`", ";", "&", "|", "\n", "'", '"', "\\", " ", "*", "..", "../etc", "-rf",
    "--privileged", "~", "{a}", "$HOME", "\0", "\u202e", "雪", "a", "Z", "0", "/data", "x:1", "@",
]  # fmt: skip


def refusals(content: dict[str, Any]) -> list[str]:
    """What is wrong with a configuration, as a command would show it."""
    try:
        effective(ConfigFile.model_validate(content))
    except ValidationError as error:
        return [str(problem) for problem in problems_of(error)]
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize("place", PLACES)
@given(text=st.lists(st.sampled_from(FRAGMENTS), max_size=4).map("".join) | st.text(max_size=6))
@example(text="-oProxyCommand=touch x")
@example(text="a\n")
@example(text="$(touch x)")
def test_a_name_is_harmless_or_refused_with_its_place(place: str, text: str) -> None:
    told = refusals(PLACES[place](text))
    assert told or HARMLESS.fullmatch(text)
    assert all(place in line for line in told)
    # A terminal must not be played tricks on by what it is told.
    assert all(line.isprintable() for line in told)
