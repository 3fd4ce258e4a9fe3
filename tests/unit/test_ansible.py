"""The other roads: the role's variables, the work list for it, and exported inventories."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runnerkit.change.actions import LoadImages
from runnerkit.change.manifest import manifest_file, read_manifest
from runnerkit.change.plan import Plan, diff
from runnerkit.config.effective import Config, ConfigFile, effective
from runnerkit.config.model import HostEntry
from runnerkit.config.schema import model_leaves
from runnerkit.config.values import SecretSource
from runnerkit.desired.shipped import shipped_files
from runnerkit.desired.state import DesiredState
from runnerkit.facts.daemon import DaemonUnavailable
from runnerkit.facts.host import HostFacts
from runnerkit.paths import MANIFEST
from runnerkit.report.inventory import inventory_files, lookup
from runnerkit.report.role import NOT_FOR_ROLES, SECRETS, argument_specs_file, variables
from runnerkit.report.work_list import work_list
from tests.docs import ROOT
from tests.other_roads import ALWAYS, OTHER, host_with, variables_table
from tests.unit.builders import bare_system, converged, desired_for

ROLE = ROOT / "ansible/roles/runnerkit"


class AnsibleLoader(yaml.SafeLoader):
    """YAML with Ansible's tag for texts that are no templates."""


AnsibleLoader.add_constructor("!unsafe", lambda _, node: node.value)


def read(text: str) -> Any:
    return yaml.load(text, AnsibleLoader)  # noqa: S506 - a SafeLoader with one more tag


def test_every_key_is_a_variable_or_known_to_be_none() -> None:
    keys = {path for path, _ in model_leaves(HostEntry)}
    assert {variable.path for variable in variables()} == keys - NOT_FOR_ROLES
    assert keys >= NOT_FOR_ROLES


def test_the_specification_has_the_defaults_of_the_role() -> None:
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    options = yaml.safe_load(argument_specs_file())["argument_specs"]["main"]["options"]
    required = {name for name, option in options.items() if option.get("required")}
    assert set(options) - required == set(defaults)
    given = {name: option["default"] for name, option in options.items() if "default" in option}
    assert {name: defaults[name] for name in given} == given


def test_defaults_have_the_types_of_the_specification() -> None:
    kinds = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}
    options = yaml.safe_load(argument_specs_file())["argument_specs"]["main"]["options"]
    for name, option in options.items():
        if "default" in option and option["type"] != "raw":
            assert type(option["default"]) is kinds[option["type"]], name


def test_secrets_are_never_logged() -> None:
    options = yaml.safe_load(argument_specs_file())["argument_specs"]["main"]["options"]
    hidden = {name for name, option in options.items() if option.get("no_log")}
    assert hidden == {f"runnerkit_{path}" for path in SECRETS}


def work_for(desired: DesiredState, facts: HostFacts) -> dict[str, Any]:
    files = (*desired.files, manifest_file(facts.system.file(MANIFEST), desired.files, 0))
    return work_list(diff(desired, facts), "/srv/runnerkit/main", files)


def test_a_bare_host_needs_everything(tmp_path: Path) -> None:
    desired = desired_for(tmp_path, docker={"preload": ["golang:1.24"]})
    nothing = DaemonUnavailable("docker: not found")
    work = work_for(desired, HostFacts(bare_system(), nothing, nothing))
    assert work["install"] == {
        "packages": ["docker.io", "docker-cli", "docker-compose"],
        "repository": None,
    }
    assert set(work["pull"]) == set(desired.images.values())
    assert work["start"]["services"] == list(desired.services)
    assert [item["ref"] for item in work["preload"]] == ["golang:1.24"]
    assert work["drain"] is None
    assert work["other"] == work["blockers"] == []
    assert {item["name"]: item["mode"] for item in work["files"]} == {
        MANIFEST: "0644",
        **{file.name: f"{file.mode:04o}" for file in desired.files},
    }
    assert work["generation"] == {
        "number": 1,
        "keep": desired.keep_generations,
        "images": list(dict.fromkeys(desired.images.values())),
    }


def test_a_converged_host_needs_nothing_but_still_names_its_files(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    work = work_for(desired, converged(desired))
    needs = ("install", "drain", "generation", "start", "pull", "preload", "other", "blockers")
    assert not any(work[key] for key in needs)
    assert len(work["files"]) == len(desired.files) + 1


def test_a_changed_capacity_drains_before_it_starts(tmp_path: Path) -> None:
    facts = converged(desired_for(tmp_path))
    desired = desired_for(tmp_path, runner={"capacity": 4, "drain_timeout": "10m"})
    work = work_for(desired, facts)
    assert work["generation"]["number"] == 2
    assert work["drain"] == {
        "sockets": "/run/runnerkit/main",
        "container": "runner-id",
        "timeout_seconds": 600,
    }
    assert "runner" in work["start"]["services"]


def test_what_the_list_has_no_place_for_is_named() -> None:
    load = LoadImages(Path("/images"), ("docker:28-dind",), "not on the host")
    work = work_list(Plan("forge", (load,)), "/srv", ())
    assert work["other"] == [load.title]


def test_the_work_list_holds_no_secret(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    text = json.dumps(work_for(desired, converged(desired)))
    assert "ss'wo#rd" not in text


def test_a_manifest_that_is_current_stays_byte_for_byte(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    there = converged(desired).system.file(MANIFEST)
    assert there is not None
    assert manifest_file(there, desired.files, now=99).content == there.content
    changed = desired_for(tmp_path, runner={"capacity": 4})
    following = manifest_file(there, changed.files, now=99)
    read_back = read_manifest(replace(there, content=following.content))
    before = read_manifest(there)
    assert read_back is not None
    assert before is not None
    assert (read_back.generation, read_back.written_at) == (before.generation + 1, 99)


def test_all_that_compose_interpolates_is_in_the_table_of_variables() -> None:
    readme = (ROOT / "compose/README.md").read_text()
    names = set(re.findall(r"\$\{(\w+)", shipped_files().compose.decode()))
    assert names
    assert not [name for name in names if f"| `{name}` |" not in readme]


def test_the_table_knows_the_key_behind_every_variable() -> None:
    fixed = [row for row in variables_table().splitlines() if ALWAYS in row]
    assert [row.split("`")[3] for row in fixed] == ["COMPOSE_FILE"]


def host_of(files: dict[str, str], name: str) -> dict[str, Any]:
    """The entry of runnerkit.yml that an exported inventory stands for, login apart."""
    found = read(files[f"host_vars/{name}.yml"])
    by_name = {variable.name: variable.path for variable in variables()}
    return {by_name[key]: value for key, value in found.items() if key != "runnerkit_secret"}


@given(st.sets(st.sampled_from(sorted(set(OTHER) - {"secret"}))))
def test_an_exported_host_is_the_host(chosen: set[str]) -> None:
    host = host_with(**{path: OTHER[path] for path in chosen})
    keys = host_of(dict(inventory_files(Config((host,)), Path("/base"))), host.name)
    assert host_with(**keys) == host.model_copy(update={"secret": host_with().secret})


def exported(entry: dict[str, Any]) -> dict[str, Any]:
    """The login of one host in its inventory."""
    content = {
        "server": "https://drone.example.com",
        "secret": "env:DRONE_RPC_SECRET",
        "hosts": {"forge": entry},
    }
    config = effective(ConfigFile.model_validate(content))
    files = inventory_files(config, Path("/base"))
    return read(files["inventory.yml"])["runners"]["hosts"]["forge"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("entry", "login"),
    [
        ({"ssh": "forge"}, {"ansible_host": "forge"}),
        (
            {"ssh": "ops@[fd00::1]:2222", "sudo": True},
            {
                "ansible_host": "fd00::1",
                "ansible_user": "ops",
                "ansible_port": 2222,
                "ansible_become": True,
            },
        ),
        ({"ssh": "local"}, {"ansible_connection": "local"}),
        (
            {"ssh": "forge", "known_hosts": "/my keys"},
            {
                "ansible_host": "forge",
                "ansible_ssh_common_args": "-o 'UserKnownHostsFile=/my keys'",
            },
        ),
        (
            {"ssh": "forge", "sudo_password": "env:SUDO"},
            {
                "ansible_host": "forge",
                "ansible_become_password": "{{ lookup('ansible.builtin.env', 'SUDO') }}",
            },
        ),
    ],
)
def test_the_login_becomes_ansibles(entry: dict[str, Any], login: dict[str, Any]) -> None:
    assert exported(entry) == login


@pytest.mark.parametrize(
    ("source", "expression"),
    [
        ("env:A", "{{ lookup('ansible.builtin.env', 'A') }}"),
        ("file:s/it's", r"{{ lookup('ansible.builtin.file', '/base/s/it\'s') }}"),
        ("cmd:pass 'a\\b'", r"{{ lookup('ansible.builtin.pipe', 'cd /base && pass \'a\\b\'') }}"),
    ],
)
def test_a_secret_is_looked_up_where_it_is(source: str, expression: str) -> None:
    assert lookup(SecretSource.parse(source), Path("/base")) == expression


def test_a_value_that_looks_like_a_template_is_marked_as_none() -> None:
    host = host_with(**{"runner.env": {"DRONE_DEBUG_NOTE": "{{ x }}"}})
    text = inventory_files(Config((host,)), Path("/base"))["host_vars/forge.yml"]
    assert '!unsafe "{{ x }}"' in text
