"""What a person sees who makes a mistake: one message, the right exit code, no traceback."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from runnerkit.cli import app

GOOD: dict[str, object] = {
    "server": "https://drone.example.com",
    "secret": "env:TEST_SECRET",
    "hosts": {"forge": {"ssh": "root@forge.lan"}},
}


HEAVY = {"docker", "fabric", "paramiko", "prometheus_client", "pydantic", "requests", "rich"}


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


def alone(folder: Path) -> dict[str, str]:
    """The environment of somebody who has nothing but `folder`."""
    environment = {key: value for key, value in os.environ.items() if key != "RUNNERKIT_CONFIG"}
    return environment | {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "xdg")}


def kit(folder: Path, *arguments: str, secret: str | None = "s3cret-value") -> Answer:
    environment = alone(folder)
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
        env=alone(tmp_path),
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
    assert len(others) == 6
    assert not [path for path in others if "s3cret-value" in path.read_text()]
    redacted = kit(tmp_path, "render", "forge", "--offline", "--redact", "--out", "open")
    assert redacted.code == 0
    assert "s3cret-value" not in (tmp_path / "open" / "runner.env").read_text()


def test_changing_hosts_without_anybody_to_ask_is_refused(tmp_path: Path) -> None:
    write(tmp_path, GOOD | {"hosts": {"forge": {"ssh": "local"}}})
    answer = kit(tmp_path, "down", "forge")
    assert answer.code == 2
    assert "--yes" in answer.err


def test_help_shows_every_command_below_a_heading_in_80_columns(tmp_path: Path) -> None:
    answer = kit(tmp_path, "--help")
    shown = {line.split()[0] for line in answer.out.splitlines() if re.match(r"  [a-z]+  ", line)}
    assert shown == set(get_command(app).commands)  # type: ignore[attr-defined]
    assert "..." not in answer.out.partition("\n")[2]
    assert max(map(len, answer.out.splitlines())) <= 80


@pytest.mark.parametrize("name", sorted(get_command(app).commands))  # type: ignore[attr-defined]
def test_help_of_a_command_explains_each_option(name: str, tmp_path: Path) -> None:
    answer = kit(tmp_path, name, "--help")
    assert answer.code == 0
    options = answer.out.partition("Options:")[2].splitlines()
    for line in (line for line in options if line.startswith("  -")):
        # An option as wide as the column has its help on the next line.
        assert re.search(r"\S  +\S", line) or len(line) > 25, line
    assert max(map(len, answer.out.splitlines())) <= 80


def test_help_and_completion_import_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys, runnerkit.cli\n"
        "try: runnerkit.cli.app(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(done.stdout.splitlines()[-1].split())


def test_completion_offers_the_commands(tmp_path: Path) -> None:
    environment = os.environ | {"_RUNNERKIT_COMPLETE": "complete_bash"}
    environment |= {"COMP_WORDS": "runnerkit st", "COMP_CWORD": "1"}
    done = subprocess.run(
        [Path(sys.executable).with_name("runnerkit")],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["status"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("status", "--json", "--brief"), "--json and --brief"),
        (("status", "--watch", "--queue"), "--queue and --watch"),
        (("status", "--watch", "--check-updates"), "--watch and --check-updates"),
        (("status", "--queue", "--verbose"), "--queue and --verbose"),
        (("status", "--every", "5s"), "--watch"),
        (("status", "--watch", "--every", "soon"), "--every"),
        (("metrics", "--textfile", "x", "--listen", "9"), "cannot be combined"),
        (("metrics", "--listen", "everywhere"), "no such port"),
        (("status", "--queue"), "no API token is configured"),
    ],
)
def test_what_does_not_go_together_is_said(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    write(tmp_path, GOOD)
    answer = kit(tmp_path, *arguments)
    assert answer.code == 2
    assert words in answer.err


def test_a_picture_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    write(tmp_path, GOOD | {"hosts": {"forge": {"ssh": "root@127.0.0.1:1"}}})
    answer = kit(tmp_path, "status", "--svg", str(tmp_path / "none/status.svg"))
    assert answer.code == 1
    assert "cannot be written" in answer.err


def test_a_dead_host_is_a_metric_and_a_brief_line(tmp_path: Path) -> None:
    write(tmp_path, GOOD | {"hosts": {"forge": {"ssh": "root@127.0.0.1:1"}}})
    answer = kit(tmp_path, "metrics", "--textfile", "runnerkit.prom")
    assert (answer.code, answer.out) == (0, "")
    text = tmp_path / "runnerkit.prom"
    assert 'runnerkit_host_up{host="forge"} 0.0' in text.read_text()
    assert text.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.glob("*prom*")] == ["runnerkit.prom"]
    brief = kit(tmp_path, "status", "--brief")
    assert (brief.code, brief.out) == (5, "forge  unreachable\n")


def test_the_dashboard_needs_no_configuration(tmp_path: Path) -> None:
    answer = kit(tmp_path, "metrics", "--dashboard")
    assert json.loads(answer.out)["uid"] == "runnerkit"
