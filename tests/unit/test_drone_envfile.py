"""The stand-in runner reads env files and variables as godotenv 1.3.0 and envconfig 1.4.0 do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.drone import runner

MINIMAL = {"DRONE_RPC_HOST": "drone.lab", "DRONE_RPC_SECRET": "s"}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("A = b ", "b"),
        ("A: b", "b"),
        ("A: b=c", "b=c"),
        ("A=b:c", "b:c"),
        ("A=", ""),
        ('A="b c"', "b c"),
        ("A='b c'", "b c"),
        ("A='b", "'b"),
        ("A=\"b'", "\"b'"),
        ('A=""', ""),
        ("A=b\r", "b"),
        ("A=\tb", "\tb"),
        ("export A=b", "b"),
        ("exportA=b", "b"),
        # Escapes mean something inside double quotes only.
        (r'A="b\nc"', "b\nc"),
        (r"A='b\nc'", r"b\nc"),
        (r"A=b\nc", r"b\nc"),
        (r'A="b\\c"', r"b\c"),
        (r'A="b\"c"', 'b"c'),
        (r'A="b\$c"', "b$c"),
        (r'A="b\$C"', "b$C"),
        # A dollar sign expands what the file has set so far; only capitals make a name.
        ("A=b$X", "b!"),
        ("A=b${X}c", "b!c"),
        ('A="b$X"', "b!"),
        ("A='b$X'", "b$X"),
        (r"A=b\$X", "b$X"),
        ("A=b$Z", "b"),
        ("A=pa$$word", "pa$$word"),
        ("A=pa$$X", "pa$!"),
        ("A=b$xyz", "b$xyz"),
        ("A=b$(X)", "b!)"),
        ("A=$", "$"),
        # A hash sign begins a comment wherever it stands, unless a quote is open around it.
        ("A=b # c", "b"),
        ("A=b#c", "b"),
        ('A="b#c"', "b#c"),
        ("A='b#c'", "b#c"),
        ('A="b#c" # d', "b#c"),
        ("A='b#c#d'", "b#c#d"),
        ('A="b" # c', "b"),
        ("A=it's # c", "it's # c"),
        ('A="it\'s#c"', "it's#c"),
        ("A=b # it's", "b # it's"),
        ("A=b # c # 'd' e", "b"),
    ],
)
def test_a_line_of_an_env_file(line: str, value: str) -> None:
    assert runner.parse_env(f"X=!\n{line}\n")["A"] == value


def test_blank_lines_and_comments_are_ignored() -> None:
    assert runner.parse_env("\n  \n# A=b\n  # C=d\n\t\n") == {}


def test_a_later_line_wins() -> None:
    assert runner.parse_env("A=b\nA=c\n") == {"A": "c"}


def test_expansion_never_looks_at_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTSIDE", "seen")
    assert runner.parse_env("A=x${OUTSIDE}y") == {"A": "xy"}


def test_a_line_without_a_separator_is_refused() -> None:
    with pytest.raises(runner.EnvFileError, match="Can't separate key from value"):
        runner.parse_env("A=b\nnonsense\n")


def test_what_is_set_already_wins_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "runner.env"
    path.write_text("A=file\nB=file\n")
    environ = {"A": "process"}
    runner.load_env_file(str(path), environ)
    assert environ == {"A": "process", "B": "file"}


def test_one_bad_line_silently_loads_nothing(tmp_path: Path) -> None:
    path = tmp_path / "runner.env"
    path.write_text("DRONE_RPC_HOST=drone.lab\nnonsense\n")
    environ: dict[str, str] = {}
    runner.load_env_file(str(path), environ)
    assert environ == {}


def test_a_missing_file_is_no_error(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    runner.load_env_file(str(tmp_path / "absent"), environ)
    assert environ == {}


def test_the_minimal_configuration() -> None:
    config = runner.read_config(dict(MINIMAL))
    assert config.address == "http://drone.lab"
    assert config.capacity == 2
    assert config.http_bind == ":3000"
    assert (config.os, config.arch) == ("linux", "amd64")
    assert config.name


@pytest.mark.parametrize("missing", sorted(MINIMAL))
def test_required_variables(missing: str) -> None:
    environ = {key: value for key, value in MINIMAL.items() if key != missing}
    with pytest.raises(runner.ConfigError, match=f"^required key {missing} missing value$"):
        runner.read_config(environ)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DRONE_RUNNER_VOLUMES", "/a:/b:ro", r'invalid map item: "/a:/b:ro"'),
        ("DRONE_RUNNER_LABELS", "a:b,c", r'invalid map item: "c"'),
        ("DRONE_RUNNER_ENVIRON", "URL:http://x", "invalid map item"),
        ("DRONE_RUNNER_CAPACITY", "two", r'parsing "two": invalid syntax'),
        ("DRONE_RUNNER_CAPACITY", "", r'parsing "": invalid syntax'),
        ("DRONE_MEMORY_LIMIT", "1GB", r'parsing "1GB": invalid syntax'),
        ("DRONE_LIMIT_TRUSTED", "yes", r'parsing "yes": invalid syntax'),
    ],
)
def test_a_value_that_aborts_the_start(name: str, value: str, message: str) -> None:
    with pytest.raises(runner.ConfigError, match=message):
        runner.read_config({**MINIMAL, name: value})


def test_maps_and_lists() -> None:
    config = runner.read_config(
        {
            **MINIMAL,
            "DRONE_RUNNER_VOLUMES": "/a:/b,/c:/d",
            "DRONE_RUNNER_NETWORKS": "one,two",
            "DRONE_RUNNER_LABELS": " ",
        }
    )
    assert config.volumes == {"/a": "/b", "/c": "/d"}
    assert config.networks == ("one", "two")
    assert config.labels == {}


def test_a_legacy_name_wins_over_the_new_one() -> None:
    environ = {**MINIMAL, "DRONE_MACHINE": "old", "DRONE_RUNNER_NAME": "new"}
    assert runner.read_config(environ).name == "old"


def test_secrets_do_not_show_in_the_configuration() -> None:
    environ = {**MINIMAL, "DRONE_RPC_SECRET": "hunter2", "DRONE_UI_PASSWORD": "hunter3"}
    assert "hunter" not in repr(runner.read_config(environ))


def test_the_process_says_what_is_missing_and_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runner.env"
    path.write_text("DRONE_RPC_HOST=drone.lab\n")
    assert runner.main(["daemon", str(path)], {}) == 1
    assert "required key DRONE_RPC_SECRET missing value" in capsys.readouterr().err
