from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerkit.desired.addresses import AddressPool, choose_pools

networks = st.builds(
    lambda address, bits: IPv4Network((address, bits), strict=False),
    st.integers(0x0A000000, 0x0AFFFFFF),
    st.integers(12, 30),
)


@given(st.lists(networks, max_size=12))
def test_pools_never_overlap_what_is_occupied(occupied: list[IPv4Network]) -> None:
    try:
        pools = choose_pools(occupied)
    except ValueError:
        return
    assert pools
    assert not any(pool.base.overlaps(taken) for pool in pools for taken in occupied)


@given(st.lists(networks, max_size=6))
def test_choosing_again_changes_nothing(occupied: list[IPv4Network]) -> None:
    try:
        pools = choose_pools(occupied)
    except ValueError:
        return
    assert choose_pools(occupied, pools) == pools


def test_a_current_pool_stays_even_when_it_is_not_the_first_choice() -> None:
    current = (AddressPool(IPv4Network("172.30.0.0/16"), 24),)
    assert choose_pools([], current) == current


def test_a_current_pool_that_collides_is_left() -> None:
    current = (AddressPool(IPv4Network("172.30.0.0/16"), 24),)
    assert choose_pools([IPv4Network("172.30.4.0/24")], current) != current


def test_no_room_at_all_is_said() -> None:
    with pytest.raises(ValueError, match="overlaps the host's routes"):
        choose_pools([IPv4Network("10.0.0.0/8")])
