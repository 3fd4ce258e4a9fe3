"""What the configuration takes, what it refuses, and which layer wins."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from runnerkit.config.effective import Config, ConfigFile, HostConfig, effective
from runnerkit.config.image_ref import check_image_ref
from runnerkit.config.values import SecretSource
from runnerkit.errors import ConfigError


def file_of(host: dict[str, Any] | None = None, **top: Any) -> ConfigFile:
    content: dict[str, Any] = {
        "server": "https://drone.example.com",
        "secret": "env:DRONE_RPC_SECRET",
        "hosts": {"forge": {"ssh": "root@forge.lan", **(host or {})}},
    }
    return ConfigFile.model_validate(content | top)


def host_of(host: dict[str, Any] | None = None, **top: Any) -> HostConfig:
    [only] = effective(file_of(host, **top)).hosts
    return only


def test_one_line_per_host_is_enough() -> None:
    host = host_of()
    assert (host.name, host.stack, host.runner.capacity) == ("forge", "main", 2)
    assert str(host.cache.max) == "50%"
    assert host.docker.data == "/var/lib/runnerkit"


def test_the_innermost_layer_wins() -> None:
    defaults = {"tls_verify": True, "runner": {"capacity": 3, "max_procs": 5}}
    host = host_of({"runner": {"capacity": 4}}, defaults=defaults, tls_verify=False)
    assert (host.runner.capacity, host.runner.max_procs, host.tls_verify) == (4, 5, True)


def test_maps_merge_and_lists_replace() -> None:
    defaults = {
        "runner": {"labels": {"a": "1", "b": "2"}},
        "docker": {"mirrors": ["https://one.lan", "https://two.lan"]},
    }
    sections = {"runner": {"labels": {"b": "3"}}, "docker": {"mirrors": ["https://own.lan"]}}
    host = host_of(sections, defaults=defaults)
    assert host.runner.labels == {"a": "1", "b": "3"}
    assert host.docker.mirrors == ("https://own.lan",)


def test_a_host_can_take_a_limit_away() -> None:
    defaults = {"docker": {"memory": "8GB"}}
    assert host_of({"docker": {"memory": None}}, defaults=defaults).docker.memory is None


def test_every_leaf_knows_where_it_was_given() -> None:
    host = host_of({"runner": {"capacity": 4}}, defaults={"cache": {"max": "40%"}})
    origins = [host.origin(x) for x in ("runner.capacity", "cache.max", "server", "docker.mtu")]
    assert origins == ["host", "defaults", "defaults", "default"]


def test_spelling_out_a_default_changes_nothing() -> None:
    assert host_of({"runner": {"capacity": 2}, "cache": {"max": "50%"}}) == host_of()


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        host_of().runner.capacity = 5  # type: ignore[misc]


def test_notes_are_ignored_in_every_mapping_of_ours() -> None:
    noted = {"x-why": "old disk", "runner": {"x-todo": [1]}}
    assert host_of(noted, **{"x-common": {"anything": 1}}) == host_of()


def test_a_section_with_nothing_left_in_it_is_the_default() -> None:
    assert host_of({"runner": None}, defaults=None) == host_of()


LEAF = [
    ({"runner": {"capacity": 0}}, "greater than or equal to 1"),
    ({"runner": {"capacity": True}}, "valid integer"),
    ({"runner": {"labels": {"a": "b:c"}}}, "cannot hold a comma, a colon"),
    ({"runner": {"environ": {"A": "b\nc"}}}, "cannot hold a line break"),
    ({"runner": {"environ": {"A": ""}}}, "the runner leaves out a variable without a value"),
    ({"registry": {"cache": "https://r.lan"}}, "without a tag"),
    ({"runner": {"volumes": {"/a": "/b:ro"}}}, "cannot hold a comma, a colon"),
    ({"runner": {"volumes": {"a": "/b"}}}, "absolute path"),
    ({"runner": {"env": {"DRONE_RPC_HOST": "x"}}}, "is set by runnerkit"),
    ({"runner": {"env": {"DRONE_RPC_DUMP_HTTP": "true"}}}, "write the RPC secret"),
    ({"runner": {"env": {"PATH": "x"}}}, "no setting of the runner"),
    ({"runner": {"limit": {"events": ["pushed"]}}}, "should be one of push"),
    ({"runner": {"step_memory": 4}}, "at least 6MiB"),
    ({"runner": {"step_cpus": float("nan")}}, "finite"),
    ({"runner": {"drain_timeout": "8d"}}, "1s to 7d"),
    ({"docker": {"memory": 8}}, "at least 256MiB, not 8B"),
    ({"docker": {"data": "relative"}}, "absolute path"),
    ({"docker": {"data": "/"}}, "not /"),
    ({"docker": {"data": "//"}}, "not /"),
    ({"docker": {"data": "/run/x"}}, "cannot be below /run"),
    ({"docker": {"data": "/var/lib/docker"}}, "cannot be below /var/lib/docker"),
    ({"docker": {"data": "/data/../etc"}}, "without .."),
    ({"docker": {"data": "/a b"}}, "absolute path"),
    ({"docker": {"mtu": 100}}, "576 to 9216"),
    ({"docker": {"dns": ["dns.lan"]}}, "IP address"),
    ({"docker": {"mirrors": ["mirror.lan"]}}, "http:// or https://"),
    ({"docker": {"insecure_registries": ["http://r.lan"]}}, "host or host:port"),
    ({"docker": {"address_pools": []}}, "names no range"),
    ({"docker": {"address_pools": [{"base": "10.1.0.1/16"}]}}, "bits set behind"),
    ({"docker": {"address_pools": [{"base": "10.1.0.0/28", "size": 24}]}}, "holds no network"),
    (
        {"docker": {"address_pools": [{"base": "10.0.0.0/8"}, {"base": "10.1.0.0/16"}]}},
        "overlap",
    ),
    ({"cache": {"max": 50}}, "at least 512MiB"),
    ({"ssh": "root:secret@forge"}, "cannot hold a password"),
    ({"ssh": "-oProxyCommand=x"}, "dash"),
    ({"stack": "Main"}, "lower-case"),
    ({"server": "https://u:p@drone.lan"}, "no user name or password"),
    ({"server": "https://drone.lan/?a=b"}, r"no \? or #"),
    ({"server": "ftp://drone.lan"}, "http:// or https://"),
    ({"server": "https://drone.lan:99999"}, "no URL"),
    ({"unknown": 1}, "Extra inputs"),
]


@pytest.mark.parametrize(("sections", "words"), LEAF, ids=[words for _, words in LEAF])
def test_what_cannot_work_is_refused(sections: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        file_of(sections)


@pytest.mark.parametrize("name", ["a b", "a;reboot", "$(id)", "-a", "", "x-wing", "a" * 64, "a/b"])
def test_names_that_a_shell_could_read_are_no_host_names(name: str) -> None:
    with pytest.raises(ValidationError, match="is no host name"):
        file_of(hosts={name: {"ssh": "forge"}})


@pytest.mark.parametrize(
    "source", ["hunter2", "env:", "env:hun ter2", "hunter2:x", "file:", "cmd:  ", 12, None, ["x"]]
)
def test_a_literal_secret_is_refused_and_not_repeated(source: object) -> None:
    with pytest.raises(ValueError, match="where the secret is, not what it is") as caught:
        SecretSource.parse(source)
    assert "hunter2" not in repr(caught.value)


@pytest.mark.parametrize("text", ["env:A_1", "file:~/secret", "cmd:pass show drone:rpc"])
def test_a_secret_source_reads_back_as_itself(text: str) -> None:
    assert str(SecretSource.parse(text)) == text


@pytest.mark.parametrize(
    "ref",
    [
        "a",
        "docker:28-dind",
        "registry.lan:5000/team/app:1.2",
        "[fd00::1]:5000/a",
        "a@sha256:" + "0" * 64,
    ],
)
def test_image_references_are_taken(ref: str) -> None:
    assert check_image_ref(ref) == ref


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("", "should be an image reference"),
        ("a b", "should be an image reference"),
        ("-a", "should be an image reference"),
        ("a//b", "should be an image reference"),
        ("localhost/Team", "upper-case"),
        ("a:", "bad tag"),
        ("a@sha256:12", "digest"),
    ],
)
def test_what_is_no_image_reference_is_refused(ref: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_image_ref(ref)


def problems(file: ConfigFile) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        effective(file)
    return [str(problem) for problem in caught.value.problems]


def test_layers_may_not_outlive_mounts_wherever_the_two_are_given() -> None:
    [message] = problems(file_of({"cache": {"keep_mounts": "7d"}}))
    assert message == ("hosts.forge.cache.keep_layers: 14d is longer than keep_mounts, which is 7d")


def test_a_mistake_in_the_defaults_is_told_once() -> None:
    hosts = {"a": {"ssh": "a"}, "b": {"ssh": "b"}}
    found = problems(file_of(hosts=hosts, defaults={"cache": {"keep_layers": "90d"}}))
    assert [x.partition(":")[0] for x in found] == ["defaults.cache.keep_layers"]


@pytest.mark.parametrize("other", ["root@forge", "ops@FORGE:22", "ssh://forge"])
def test_one_machine_cannot_carry_the_same_stack_twice(other: str) -> None:
    found = problems(file_of(hosts={"a": {"ssh": "forge"}, "b": {"ssh": other}}))
    assert found == ["hosts.b.ssh: is the same machine as hosts.a, with the same stack main"]


def test_one_machine_may_carry_two_stacks() -> None:
    hosts = {"a": {"ssh": "forge"}, "b": {"ssh": "forge", "stack": "trusted"}}
    assert isinstance(effective(file_of(hosts=hosts)), Config)


@pytest.mark.parametrize("key", ["server", "secret"])
def test_a_host_without_server_or_secret_is_told(key: str) -> None:
    assert problems(file_of(**{key: None})) == [f"{key}: is missing"]
