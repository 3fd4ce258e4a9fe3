from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from runnerkit.desired.settings import compose_settings, daemon_options, runner_settings
from runnerkit.desired.traits import HostTraits
from runnerkit.paths import stack_paths
from tests.unit.builders import SECRET, config_of


def options(folder: Path, traits: HostTraits, **docker: object) -> dict[str, Any]:
    [host] = config_of(folder, docker=docker).hosts
    return daemon_options(host, traits)


def test_a_mirror_without_tls_is_also_an_insecure_registry(tmp_path: Path) -> None:
    found = options(
        tmp_path,
        HostTraits(),
        mirrors=["http://10.0.0.5:5000", "https://mirror.lan"],
        insecure_registries=["old.lan:5000"],
    )
    assert found["registry-mirrors"] == ["http://10.0.0.5:5000", "https://mirror.lan"]
    assert found["insecure-registries"] == ["old.lan:5000", "http://10.0.0.5:5000"]


def test_pools_avoid_what_the_host_routes_to(tmp_path: Path) -> None:
    taken = IPv4Network("10.231.0.0/16")
    [pool] = options(tmp_path, HostTraits(occupied=(taken,)))["default-address-pools"]
    assert not IPv4Network(pool["base"]).overlaps(taken)


def test_nothing_in_the_file_conflicts_with_the_flags(tmp_path: Path) -> None:
    assert "hosts" not in options(tmp_path, HostTraits())


def test_the_hosts_nameservers_serve_builds_unless_others_are_named(tmp_path: Path) -> None:
    traits = HostTraits(nameservers=("192.168.1.1",))
    assert options(tmp_path, traits)["dns"] == ["192.168.1.1"]
    assert options(tmp_path, traits, dns=["9.9.9.9"])["dns"] == ["9.9.9.9"]


def test_a_small_mtu_reaches_the_networks_of_pipelines(tmp_path: Path) -> None:
    [host] = config_of(tmp_path).hosts
    found = runner_settings(host, HostTraits(mtu=1400), SECRET)
    assert found["DRONE_RUNNER_NETWORK_OPTS"] == "com.docker.network.driver.mtu:1400"
    assert "DRONE_RUNNER_NETWORK_OPTS" not in runner_settings(host, HostTraits(), SECRET)


def test_a_server_below_a_path_keeps_it(tmp_path: Path) -> None:
    [host] = config_of(tmp_path, server="https://ci.example.com:8443/drone/").hosts
    found = runner_settings(host, HostTraits(), SECRET)
    assert found["DRONE_RPC_PROTO"] == "https"
    assert found["DRONE_RPC_HOST"] == "ci.example.com:8443/drone"


@pytest.mark.parametrize(
    ("env", "expected"), [({}, "arm64"), ({"DRONE_PLATFORM_ARCH": "arm"}, "arm")]
)
def test_the_runner_asks_for_builds_of_its_hosts_architecture(
    env: dict[str, str], expected: str, tmp_path: Path
) -> None:
    [host] = config_of(tmp_path, runner={"env": env}).hosts
    settings = compose_settings(host, HostTraits(arch="arm64"), stack_paths("main", "/data"))
    assert settings["RUNNER_ARCH"] == expected
