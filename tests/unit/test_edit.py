from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runnerkit.config.edit import set_values
from runnerkit.config.text import parse_yaml
from runnerkit.errors import ConfigError

COMMENTED = """\
# the house
server: https://drone.example.com   # at home
secret: env:S

defaults:
  runner: {capacity: 2}    # for all

hosts:
  # the big one
  forge:
    ssh: root@forge.lan   # rack
    # what it may do
    cache:
      max: 50%            # half
      # never less
      min_free: 15GB
  attic: {ssh: root@attic}   # the small one
  shed:
    runner:
      # capacity: 7
    ssh: root@shed
# the end
"""


def comments(text: str) -> list[str]:
    return [line[line.index("#") :] for line in text.splitlines() if "#" in line]


@pytest.mark.parametrize("host", ["forge", "attic", "shed"])
def test_every_comment_and_every_other_value_stays(host: str) -> None:
    values: dict[str, str | int] = {
        "runner.capacity": 4,
        "cache.max": "60GiB",
        "cache.keep_mounts": "30d",
    }
    result = set_values(COMMENTED, host, values)
    assert comments(result) == comments(COMMENTED)
    before, after = (parse_yaml(text, "it") for text in (COMMENTED, result))
    assert after["hosts"][host]["runner"]["capacity"] == 4
    assert after["hosts"][host]["cache"]["max"] == "60GiB"
    for other in {"forge", "attic", "shed"} - {host}:
        assert after["hosts"][other] == before["hosts"][other]


def test_only_the_lines_of_the_values_change() -> None:
    result = set_values(COMMENTED, "forge", {"cache.max": "60GiB"})
    assert result == COMMENTED.replace("max: 50%  ", "max: 60GiB  ")
    added = set_values(COMMENTED, "forge", {"runner.capacity": 4})
    place = "    ssh: root@forge.lan   # rack\n"
    assert added == COMMENTED.replace(place, f"{place}    runner:\n      capacity: 4\n")


def test_a_value_that_others_share_is_refused() -> None:
    text = COMMENTED.replace("max: 50%", "max: &max 50%").replace(
        "attic: {ssh: root@attic}", "attic: {ssh: root@attic, cache: {max: *max}}"
    )
    with pytest.raises(ConfigError, match="without changing other lines"):
        set_values(text, "attic", {"cache.max": "1GiB"})


def test_a_value_is_what_yaml_makes_of_it() -> None:
    result = set_values(COMMENTED, "forge", {"cache.max": "50"})
    assert parse_yaml(result, "it")["hosts"]["forge"]["cache"]["max"] == 50


def test_a_host_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"hosts\.barn: there is no such host"):
        set_values(COMMENTED, "barn", {"cache.max": "1GiB"})


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.sampled_from(["runner.capacity", "cache.max", "cache.min_free"]), min_size=1),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_setting_again_is_the_same_as_setting_once(
    keys: list[str], newline: str, ends: bool
) -> None:
    text = COMMENTED.replace("\n", newline)
    text = text if ends else text.rstrip()
    values = dict.fromkeys(keys, 5)
    once = set_values(text, "shed", values)
    assert set_values(once, "shed", values) == once
    assert comments(once) == comments(text)
