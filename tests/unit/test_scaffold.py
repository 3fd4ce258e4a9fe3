"""A generated file loads; an edited one keeps everything that a person wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerkit.config.effective import Config
from runnerkit.config.loading import load
from runnerkit.config.scaffold import add_host, host_name_from, new_config
from runnerkit.config.text import parse_yaml
from runnerkit.errors import ConfigError

SERVER = "https://drone.example.com"


def loaded(folder: Path, text: str) -> Config:
    path = folder / "runnerkit.yml"
    path.write_text(text)
    return load(path)


def test_a_new_configuration_is_the_defaults_spelled_out(tmp_path: Path) -> None:
    new = loaded(tmp_path, new_config("root@forge.lan", SERVER, "forge", "env:SECRET"))
    bare = f"server: {SERVER}\nsecret: env:SECRET\nhosts: {{forge: {{ssh: root@forge.lan}}}}\n"
    assert new == loaded(tmp_path, bare)


def test_a_new_configuration_tells_editors_its_schema() -> None:
    [first, *_] = new_config("forge", SERVER, "forge", "env:S").splitlines()
    assert first.startswith("# yaml-language-server: $schema=")
    assert Path(first.partition("=")[2]).is_file()


@pytest.mark.parametrize("secret", ["file:~/my secret # 1", "cmd:pass show 'a: b'", "env:S"])
def test_whatever_is_given_stands_there_as_it_was(tmp_path: Path, secret: str) -> None:
    [host] = loaded(tmp_path, new_config("root@[fd00::1]:22", SERVER, "null", secret)).hosts
    assert (str(host.secret), host.ssh, host.name) == (secret, "root@[fd00::1]:22", "null")


@pytest.mark.parametrize(
    ("text", "added"),
    [
        ("hosts:\n  a: {ssh: x}   # mine\n", "  new:\n    ssh: me@h\n"),
        ("hosts:\n    a:\n        ssh:   'x'\n# end", "    new:\n      ssh: me@h\n"),
        ("hosts:\n  a: {ssh: x}\n\n# about y\nserver:   y\n", "  new:\n    ssh: me@h\n"),
        ("hosts: # none yet\nserver: y\n", "  new:\n    ssh: me@h\n"),
        ("hosts:\r\n  a: {ssh: x}\r\n", "  new:\r\n    ssh: me@h\r\n"),
        ("hosts: {a: {ssh: x}, } # c\n", ", new: {ssh: 'me@h'}"),
        ("hosts: {}\n", "new: {ssh: 'me@h'}"),
    ],
)
def test_adding_a_host_changes_no_other_byte(text: str, added: str) -> None:
    result = add_host(text, "new", "me@h")
    before, found, after = result.partition(added)
    assert found
    assert before + after == text
    assert parse_yaml(result, "it")["hosts"]["new"] == {"ssh": "me@h"}


def test_a_file_without_a_last_line_break_gets_one() -> None:
    assert (
        add_host("hosts:\n  a: {ssh: x}", "b", "y") == "hosts:\n  a: {ssh: x}\n  b:\n    ssh: y\n"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hosts: {new: {ssh: x}}", "hosts.new: there is such a host already"),
        ("server: x", "no `hosts:`"),
        ("hosts: [a]", "no `hosts:`"),
        ("hosts: [", "not YAML"),
        ("x-h: &h {a: {ssh: x}}\nhosts: *h\n", "without changing other lines"),
    ],
)
def test_a_host_that_cannot_be_added_is_told(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        add_host(text, "new", "me@h")


@pytest.mark.parametrize(
    ("ssh", "name"),
    [
        ("root@forge.lan", "forge"),
        ("ops@10.0.0.7:2222", "host-10-0-0-7"),
        ("root@[fd00::1]:22", "host-fd00-1"),
        ("ssh://attic", "attic"),
        ("local", "local"),
        ("x-wing", "host-x-wing"),
        ("build_box.lan", "build-box"),
    ],
)
def test_a_host_gets_a_short_name(ssh: str, name: str) -> None:
    assert host_name_from(ssh) == name


@given(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,80}[A-Za-z0-9]", fullmatch=True))
def test_every_derived_name_is_one_that_a_configuration_takes(ssh: str) -> None:
    from runnerkit.config.effective import ConfigFile

    hosts = {host_name_from(ssh): {"ssh": ssh}}
    assert ConfigFile.model_validate({"hosts": hosts})
