"""What hides secrets in the words of other programs."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runnerkit.desired.envfile import UnwritableValueError, runner_env
from runnerkit.desired.settings import secrets_of
from runnerkit.desired.state import ManagedFile
from runnerkit.report.files import write_rendered
from runnerkit.secret import Secret, mask
from tests.unit.builders import SECRET, config_of

SPELLINGS: list[Callable[[str], str]] = [
    lambda value: value,
    lambda value: json.dumps({"token": value}),
    lambda value: f"https://drone.example.com/?token={quote(value)}",
    lambda value: f"https://drone:{quote(value, safe='')}@drone.example.com",
    lambda value: "Basic " + base64.b64encode(value.encode()).decode(),
]
VALUES = st.text(st.characters(exclude_categories=["C"], exclude_characters="*"), min_size=8)


@pytest.mark.parametrize("spell", SPELLINGS, ids=["plain", "json", "query", "url", "base64"])
@given(value=VALUES, before=st.text(), after=st.text())
def test_a_secret_is_hidden_however_it_is_spelled(
    spell: Callable[[str], str], value: str, before: str, after: str
) -> None:
    masked = mask(f"{before}{spell(value)}{after}", [Secret(value)])
    assert "********" in masked
    assert value not in masked


@given(value=VALUES)
def test_a_line_of_the_runners_settings_shows_nothing(value: str) -> None:
    try:
        line = runner_env({"DRONE_RPC_SECRET": value})
    except UnwritableValueError:
        return
    assert value not in mask(line, [Secret(value)])


def test_what_is_no_secret_stays_as_it_is() -> None:
    assert mask("level=info msg=ready", [Secret("hunter2!"), Secret("")]) == "level=info msg=ready"


def test_settings_that_are_named_like_secrets_are_secrets(tmp_path: Path) -> None:
    runner = {
        "env": {"DRONE_SECRET_PLUGIN_TOKEN": "t0ken", "DRONE_TRACE": "true"},
        "environ": {"NPM_PASSWORD": "pa55", "KEYBOARD": "de"},
    }
    [host] = config_of(tmp_path, runner=runner).hosts
    assert {item.reveal() for item in secrets_of(host, SECRET)} == {
        SECRET.reveal(),
        "t0ken",
        "pa55",
    }


@given(value=VALUES)
@example(value="\u2028")
def test_files_that_are_rendered_to_be_shown_hold_no_part_of_it(value: str) -> None:
    secret = f"begin{value}end"
    try:
        content = runner_env({"DRONE_RPC_SECRET": secret, "DRONE_RUNNER_NAME": "forge"}).encode()
    except UnwritableValueError:
        return
    with TemporaryDirectory() as folder:
        write_rendered(
            [ManagedFile("runner.env", content, 0o600, secret=True)], Path(folder), redact=True
        )
        shown = (Path(folder) / "runner.env").read_bytes()
    assert shown == b"DRONE_RPC_SECRET=\nDRONE_RUNNER_NAME='forge'\n"
