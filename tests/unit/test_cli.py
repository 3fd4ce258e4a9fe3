"""What a person sees who makes a mistake: one message, the right exit code, no traceback."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

GOOD: dict[str, object] = {
    "server": "https://drone.example.com",
    "secret": "env:TEST_SECRET",
    "hosts": {"forge": {"ssh": "root@forge.lan"}},
}


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


def kit(folder: Path, *arguments: str, secret: str | None = "s3cret-value") -> Answer:
    environment = {key: value for key, value in os.environ.items() if key != "RUNNERKIT_CONFIG"}
    environment |= {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "xdg")}
    if secret is not None:
        environment["TEST_SECRET"] = secret
    done = subprocess.run(
        [sys.executable, "-m", "runnerkit", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return Answer(done.returncode, done.stdout, done.stderr)


def write(folder: Path, content: object) -> None:
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    (folder / "runnerkit.yml").write_text(text)


def changed(**sections: object) -> dict[str, object]:
    return GOOD | {"hosts": {"forge": {"ssh": "root@forge.lan", **sections}}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("hosts: [unclosed", "line"),
        ("", "runnerkit.yml"),
        ("just text", "runnerkit.yml"),
        (changed(runer={}), "did you mean runner"),
        (changed(runner={"capacity": "many"}), "hosts.forge.runner.capacity"),
        (changed(cache={"max": "lots"}), "hosts.forge.cache.max"),
        (changed(cache={"keep_layers": "2 moons"}), "hosts.forge.cache.keep_layers"),
        (GOOD | {"server": "drone.example.com"}, "server"),
        (GOOD | {"secret": "hunter2hunter2"}, "env:"),
        ("server: http://a\nsecret: env:X\nhosts: {a: {ssh: b}, a: {ssh: c}}", "a"),
        (GOOD | {"hosts": {"$(reboot)": {"ssh": "root@forge.lan"}}}, "hosts."),
        (GOOD | {"hosts": {"forge": {"ssh": "root@forge.lan; reboot"}}}, "hosts.forge.ssh"),
        (GOOD | {"hosts": {}}, "hosts"),
    ],
)
def test_a_bad_file_is_one_clear_message(content: object, words: str, tmp_path: Path) -> None:
    write(tmp_path, content)
    answer = kit(tmp_path, "plan")
    assert answer.code == 2
    assert answer.out == ""
    assert words in answer.err
    assert "hunter2" not in answer.err


def test_no_file_says_how_to_make_one(tmp_path: Path) -> None:
    answer = kit(tmp_path, "status")
    assert answer.code == 2
    assert "runnerkit init" in answer.err


def test_a_file_that_is_a_directory_is_said(tmp_path: Path) -> None:
    answer = kit(tmp_path, "plan", "-c", str(tmp_path))
    assert answer.code == 2
    assert str(tmp_path) in answer.err


def test_an_unknown_host_lists_the_known_ones(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    answer = kit(tmp_path, "status", "forje")
    assert answer.code == 2
    assert "forge" in answer.err


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_or_empty_secret_is_said_before_any_host_is_asked(
    value: str | None, tmp_path: Path
) -> None:
    write(tmp_path, GOOD)
    answer = kit(tmp_path, "plan", secret=value)
    assert answer.code == 2
    assert "TEST_SECRET" in answer.err


def test_an_unreachable_host_is_exit_5_with_a_hint(tmp_path: Path) -> None:
    write(tmp_path, GOOD | {"hosts": {"forge": {"ssh": "root@127.0.0.1:1"}}})
    answer = kit(tmp_path, "status", "--json")
    assert answer.code == 5
    assert '"status": "unreachable"' in answer.out
    assert kit(tmp_path, "up", "--yes").code == 5
    assert "hint:" in kit(tmp_path, "plan").err


def test_the_effective_configuration_marks_defaults(tmp_path: Path) -> None:
    write(tmp_path, changed(runner={"capacity": 3}))
    answer = kit(tmp_path, "config")
    assert answer.code == 0
    [capacity] = [x for x in answer.out.splitlines() if "runner.capacity" in x]
    [procs] = [x for x in answer.out.splitlines() if "runner.max_procs" in x]
    assert "default" not in capacity
    assert procs.endswith("# default")


def test_init_writes_a_file_that_loads_and_adds_a_second_host(tmp_path: Path) -> None:
    arguments = ("--server", "https://drone.example.com", "--secret", "env:TEST_SECRET")
    assert kit(tmp_path, "init", "ops@forge.lan", *arguments).code == 0
    first = (tmp_path / "runnerkit.yml").read_text()
    assert kit(tmp_path, "init", "root@10.0.0.7").code == 0
    second = (tmp_path / "runnerkit.yml").read_text()
    assert second.startswith(first)
    assert set(yaml.safe_load(second)["hosts"]) == {"forge", "host-10-0-0-7"}
    again = kit(tmp_path, "init", "root@10.0.0.7")
    assert again.code == 2
    assert (tmp_path / "runnerkit.yml").read_text() == second


def test_init_asks_on_a_terminal_and_tells_what_is_missing_elsewhere(tmp_path: Path) -> None:
    answer = kit(tmp_path, "init", "root@forge.lan")
    assert answer.code == 2
    assert answer.err.splitlines() == [
        "error: --server URL is missing",
        "hint: runnerkit init USER@HOST --server URL",
    ]
    controller, terminal = pty.openpty()
    os.write(controller, b"root@forge.lan\nhttps://drone.example.com\n")
    done = subprocess.run(
        [sys.executable, "-m", "runnerkit", "init"],
        cwd=tmp_path,
        stdin=terminal,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(controller)
    os.close(terminal)
    assert done.returncode == 0, done.stderr
    content = yaml.safe_load((tmp_path / "runnerkit.yml").read_text())
    assert content["server"] == "https://drone.example.com"
    assert content["hosts"]["forge"]["ssh"] == "root@forge.lan"


def test_rendering_offline_writes_the_secret_file_for_its_owner_alone(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    answer = kit(tmp_path, "render", "forge", "--offline", "--out", "stack")
    assert answer.code == 0, answer.err
    secret_file = tmp_path / "stack" / "runner.env"
    assert secret_file.stat().st_mode & 0o777 == 0o600
    assert "s3cret-value" in secret_file.read_text()
    others = [path for path in (tmp_path / "stack").iterdir() if path != secret_file]
    assert len(others) == 4
    assert not [path for path in others if "s3cret-value" in path.read_text()]
    redacted = kit(tmp_path, "render", "forge", "--offline", "--redact", "--out", "open")
    assert redacted.code == 0
    assert "s3cret-value" not in (tmp_path / "open" / "runner.env").read_text()


def test_changing_hosts_without_anybody_to_ask_is_refused(tmp_path: Path) -> None:
    write(tmp_path, GOOD | {"hosts": {"forge": {"ssh": "local"}}})
    answer = kit(tmp_path, "down", "forge")
    assert answer.code == 2
    assert "--yes" in answer.err
