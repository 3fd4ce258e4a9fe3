"""A configuration that cannot be used says where, what is allowed, and never shows a secret."""

from __future__ import annotations

import copy
import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runnerkit.config import loading
from runnerkit.config.effective import Config, SecretSource
from runnerkit.config.loading import find_config, load, resolve_secret, select_hosts
from runnerkit.errors import ConfigError, ExitCode

GOOD: dict[str, Any] = {
    "server": "https://drone.example.com",
    "secret": "env:DRONE_RPC_SECRET",
    "x-notes": ["anything"],
    "defaults": {
        "runner": {"capacity": 2, "labels": {"disk": "fast"}, "limit": {"repos": ["octocat/*"]}},
        "docker": {"memory": "8GB", "mirrors": ["https://mirror.lan"]},
        "cache": {"max": "50%", "keep_mounts": "60d"},
    },
    "hosts": {
        "forge": {"ssh": "ops@forge.lan", "sudo": True},
        "attic": {"ssh": "root@10.0.0.7", "docker": {"address_pools": [{"base": "10.9.0.0/16"}]}},
    },
}


def written(folder: Path, content: object) -> Path:
    path = folder / "runnerkit.yml"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def refused(folder: Path, content: object) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(written(folder, content))
    assert caught.value.exit_code is ExitCode.USAGE
    return caught.value


def all_of(error: ConfigError) -> str:
    problems = [f"{problem} {problem.hint}" for problem in error.problems]
    return "\n".join([str(error), str(error.hint), *problems])


def test_a_good_file_loads_with_its_hosts_in_order(tmp_path: Path) -> None:
    assert [host.name for host in load(written(tmp_path, GOOD)).hosts] == ["attic", "forge"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("- a\n", "no keys at the top"),
        ("just text", "no keys at the top"),
        ("hosts: [\n", "line 2, column 1|line 1"),
        (b"server: \xff\xfe", "not UTF-8"),
        ("a: &a [*a]", "anchor holds itself"),
        ("a: " + "[" * 100 + "]" * 100, "nested too deeply"),
        ("a: &a\n  <<: *a\n", "anchor holds itself"),
        ("a: 1\n--- \nb: 2\n", "another document"),
        ("# " + "x" * (1 << 20), "larger than any"),
    ],
)
def test_what_is_no_configuration_is_told_in_one_line(
    tmp_path: Path, content: object, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        load(written(tmp_path, content))


def test_a_file_that_is_a_folder_or_missing_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="does not exist") as caught:
        load(tmp_path / "none.yml")
    assert caught.value.hint == "runnerkit init USER@HOST --server URL"


@pytest.mark.parametrize("what", ["[{aliases}]", "{{<<: [{aliases}]}}"])
def test_a_yaml_bomb_is_refused_quickly(tmp_path: Path, what: str) -> None:
    lines = ["x-a: &a {k: 1}"]
    for before, name in zip("abcdefghijk", "bcdefghijkl", strict=True):
        aliases = ", ".join([f"*{before}"] * 10)
        lines.append(f"x-{name}: &{name} {what.format(aliases=aliases)}")
    began = time.monotonic()
    assert "too many values" in str(refused(tmp_path, "\n".join(lines)))
    assert time.monotonic() - began < 5


def test_a_host_given_twice_is_told_with_its_lines_and_without_values(tmp_path: Path) -> None:
    text = "secret: hunter2\nhosts:\n  a: {ssh: x}\n  b: {ssh: y}\n  a: {ssh: z}\nsecret: hunter3\n"
    error = refused(tmp_path, text)
    places = [str(problem) for problem in error.problems]
    assert places == [
        "secret: stands twice, in line 1 and in line 6",
        "hosts.a: stands twice, in line 3 and in line 5",
    ]
    assert "hunter" not in all_of(error)


def test_a_merge_key_may_be_used_with_notes(tmp_path: Path) -> None:
    text = (
        "x-big: &big {runner: {capacity: 8}}\nserver: http://d\nsecret: env:S\n"
        "hosts:\n  a: {<<: *big, ssh: x}\n"
    )
    [host] = load(written(tmp_path, text)).hosts
    assert host.runner.capacity == 8


def test_all_problems_come_at_once_with_path_and_hint(tmp_path: Path) -> None:
    content = copy.deepcopy(GOOD)
    content["hosts"]["forge"] |= {"cache": {"max": "150%"}, "capacity": 3, "sudoo": True}
    content["hosts"]["attic"] |= {"docker": {"source": "distor", "sorce": "auto"}}
    content["defaults"]["runner"]["capacity"] = 99
    found = {x.path: (x.message, x.hint) for x in refused(tmp_path, content).problems}
    assert found == {
        "defaults.runner.capacity": ("should be from 1 to 64", None),
        "hosts.forge.cache.max": ("should be from 1% to 100% of the data disk", None),
        "hosts.forge.capacity": (
            "is not a key that runnerkit knows", "did you mean runner.capacity?"
        ),
        "hosts.forge.sudoo": ("is not a key that runnerkit knows", "did you mean sudo?"),
        "hosts.attic.docker.source": (
            "should be one of auto, distro, official, none", "did you mean distro?"
        ),
        "hosts.attic.docker.sorce": ("is not a key that runnerkit knows", "did you mean source?"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("host", "problem"),
    [
        ({}, "hosts.a.ssh: is missing"),
        ({"ssh": "x", "runner": {"capacity": "2"}}, "hosts.a.runner.capacity: should be a whole"),
        ({"ssh": "x", "sudo": "yes"}, "hosts.a.sudo: should be true or false"),
        ({"ssh": "x", "runner": {"environ": {"A": 1}}}, "hosts.a.runner.environ.A: should be text"),
        ({"ssh": "x", "runner": 3}, "hosts.a.runner: should be keys with values"),
        (
            {"ssh": "x", "docker": {"mirrors": "https://m"}},
            "hosts.a.docker.mirrors: should be a li",
        ),
        ({"ssh": "x", "docker": {"mtu": 5}}, "hosts.a.docker.mtu: should be auto or a number"),
        (
            {"ssh": "x", "docker": {"address_pools": [{}]}},
            "hosts.a.docker.address_pools.0.base: is",
        ),
        ({"ssh": "x", "docker": {"address_pools": 5}}, "hosts.a.docker.address_pools: should be"),
        ({"ssh": "x", "identity": "~nobody-at-all/k"}, "hosts.a.identity: begins with the home"),
    ],
)
def test_each_mistake_names_its_place(tmp_path: Path, host: object, problem: str) -> None:
    [found] = refused(tmp_path, GOOD | {"hosts": {"a": host}}).problems
    assert str(found).startswith(problem)


@pytest.mark.parametrize("key", ["auto", "pools", "[key]", "", "a b"])
def test_an_unknown_key_is_told_whatever_it_is_called(tmp_path: Path, key: str) -> None:
    [problem] = refused(tmp_path, GOOD | {key: 1}).problems
    assert problem.message == "is not a key that runnerkit knows"
    assert key in problem.path


def test_dates_and_other_special_values_ask_for_quotes(tmp_path: Path) -> None:
    text = "server: 2024-01-01\nsecret: !!binary aGk=\n"
    found = refused(tmp_path, text).problems
    assert [(x.path, x.hint) for x in found] == [
        ("server", "put it in quotes"), ("secret", "put it in quotes")
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "secret: hunter2\n",
        "secret: *hunter2\n",
        "secret: !hunter2 x\n",
        "secret: 'hunter2\n",
        "server: https://me:hunter2@drone\nsecret: env:A\n",
        "hosts: {a: {ssh: 'root:hunter2@forge'}}\n",
        "defaults: {runner: {environ: {A: 'hunter2,hunter2'}, env: {DRONE_RPC_SECRET: hunter2}}}\n",
        "token: [hunter2]\nsudo: hunter2\nstack: hunter2_\n",
    ],
)
def test_no_message_repeats_what_may_be_secret(tmp_path: Path, text: str) -> None:
    assert "hunter2" not in all_of(refused(tmp_path, text))


def test_paths_are_relative_to_the_file_and_know_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    hosts = {"a": {"ssh": "x", "identity": "~/k", "known_hosts": "kh", "images": {"load": "i"}}}
    [host] = load(written(tmp_path, GOOD | {"hosts": hosts})).hosts
    found = (host.identity, host.known_hosts, host.images.load)
    assert found == (Path("/home/me/k"), tmp_path / "kh", tmp_path / "i")


def test_the_file_is_looked_for_in_four_places(tmp_path: Path) -> None:
    here, xdg = tmp_path / "here", tmp_path / "xdg"
    for path in (here / "runnerkit.yml", xdg / "runnerkit" / "runnerkit.yml"):
        path.parent.mkdir(parents=True)
        path.touch()
    env = {"XDG_CONFIG_HOME": str(xdg), "RUNNERKIT_CONFIG": "/named"}
    assert find_config(Path("given"), env, here) == Path("given")
    assert find_config(None, env, here) == Path("/named")
    del env["RUNNERKIT_CONFIG"]
    assert find_config(None, env, here) == here / "runnerkit.yml"
    assert find_config(None, env, tmp_path) == xdg / "runnerkit" / "runnerkit.yml"
    with pytest.raises(ConfigError, match="there is no") as caught:
        find_config(None, {}, tmp_path)
    assert caught.value.hint == "runnerkit init USER@HOST --server URL"


def secret(source: str, base: Path) -> str:
    return resolve_secret(SecretSource.parse(source), where="secret", base=base).reveal()


def test_secrets_come_from_their_three_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_SECRET", "from env")
    file = tmp_path / "s"
    file.write_text("from file\n")
    file.chmod(0o600)
    assert secret("env:TEST_SECRET", tmp_path) == "from env"
    assert secret("file:s", tmp_path) == "from file"
    assert secret("cmd:printf 'from %s\\n' command", tmp_path) == "from command"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("env:NOT_SET_AT_ALL", "variable NOT_SET_AT_ALL is not set"),
        ("env:EMPTY", "variable EMPTY is empty"),
        ("file:none", "No such file"),
        ("file:.", "directory"),
        ("file:~nobody-at-all/s", "unknown user"),
        ("file:blank", "is empty"),
        ("file:open", "open to every user"),
        ("file:two", "line break"),
        ("file:nul", "line break or control"),
        ("file:latin", "not UTF-8"),
        ("file:long", "too long"),
        ("cmd:echo hunter2; exit 3", "exit code 3"),
        ("cmd:true", "is empty"),
        ("cmd:no-such-command-hunter2", "exit code 127"),
        ("cmd:printf 'hunter2\\n\\n'", "line break"),
    ],
)
def test_a_secret_that_cannot_be_used_is_told_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    monkeypatch.setenv("EMPTY", "")
    contents = {
        "blank": b"\n", "open": b"hunter2", "two": b"hunter2\nhunter2\n", "nul": b"hunter2\0",
        "latin": b"hunter2\xff", "long": b"hunter2" * 10000,
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o644 if name == "open" else 0o600)
    with pytest.raises(ConfigError, match=words) as caught:
        secret(source, tmp_path)
    assert "hunter2" not in all_of(caught.value)
    assert str(caught.value).startswith("secret: ")


def test_a_command_that_hangs_is_ended_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "COMMAND_SECONDS", 0.2)
    began = time.monotonic()
    with pytest.raises(ConfigError, match="no answer"):
        secret("cmd:sleep 60 | cat; true", tmp_path)
    assert time.monotonic() - began < 10


def test_a_secret_that_others_can_read_hints_the_mode(tmp_path: Path) -> None:
    (tmp_path / "s").touch(0o644)
    os.chmod(tmp_path / "s", 0o644)  # noqa: PTH101
    with pytest.raises(ConfigError, match="every user") as caught:
        secret("file:s", tmp_path)
    assert caught.value.hint == f"chmod 600 {tmp_path / 's'}"


def test_hosts_are_selected_in_the_order_of_the_file(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD))
    assert [host.name for host in select_hosts(config, ["forge", "attic"])] == ["attic", "forge"]
    assert select_hosts(config, []) == config.hosts


def test_an_unknown_host_lists_the_known_ones(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD))
    with pytest.raises(ConfigError, match="'forg' is not a host") as caught:
        select_hosts(config, ["forg"])
    assert caught.value.hint == "did you mean forge? known: attic, forge"
    assert caught.value.exit_code is ExitCode.USAGE


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = [path] if path else []
    for key, item in items:
        nested = isinstance(item, dict | list)
        found += places(item, (*path, key)) if nested else [(*path, key)]
    return found


@st.composite
def broken(draw: st.DrawFn) -> str:
    """A good configuration after a few accidents."""
    content = copy.deepcopy(GOOD)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(content)))
        parent: Any = content
        for key in path[:-1]:
            parent = parent[key]
        if isinstance(parent, dict) and draw(st.booleans()):
            parent[draw(st.text(max_size=8))] = draw(JUNK)
        parent[path[-1]] = draw(JUNK)
    return yaml.safe_dump(content, allow_unicode=draw(st.booleans()))


@st.composite
def scribbled(draw: st.DrawFn) -> bytes:
    """A good file with junk written over a part of it."""
    text = yaml.safe_dump(GOOD).encode()
    at, length = draw(st.integers(0, len(text))), draw(st.integers(0, 20))
    signs = st.sampled_from(
        [b"[", b"{", b"*a", b"&a", b"!x", b"'", b'"', b"\n", b"\t", b"<<: ", b"? "]
    )
    return text[:at] + draw(st.binary(max_size=8) | signs) + text[at + length :]


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(broken() | scribbled())
def test_no_file_content_gets_anything_but_a_configuration_or_its_problems(
    tmp_path_factory: pytest.TempPathFactory, content: str | bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "broken.yml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(errors="replace"))
    try:
        assert isinstance(load(path), Config)
    except ConfigError as error:
        all_of(error).encode()
