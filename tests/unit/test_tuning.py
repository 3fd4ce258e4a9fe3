from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerkit.facts.host import Disk
from runnerkit.tuning.advice import Advice, Settings, advise
from runnerkit.tuning.measured import CacheUse, Evicted, Evictions, Measured, Probed, parse_probe
from runnerkit.units import ByteSize

GIB = 1 << 30
DAY = 86400
NOW = Settings(2, 50 * GIB, 15 * GIB, 60 * DAY, 14 * DAY)


def disk(total: int, available: int) -> Disk:
    return Disk("/data", "ext4", total, available, 1000, 900)


def host(cpus: float = 8, memory: int = 32 * GIB, size: int = 500 * GIB) -> Measured:
    probed = Probed(use=CacheUse(10 * GIB, 5 * GIB, 0))
    return Measured(cpus, memory, disk(size, size * 9 // 10), False, probed)


def said(measured: Measured, now: Settings = NOW) -> dict[str, Advice]:
    return {item.key: item for item in advise(measured, now)}


def test_the_scarcer_of_cores_and_memory_decides_and_is_named() -> None:
    assert said(host())["runner.capacity"].advised == "4"
    assert "8 cores" in said(host())["runner.capacity"].reason
    poor = said(host(memory=5 * GIB))["runner.capacity"]
    assert poor.advised == "2"
    assert "4.0 GiB of memory" in poor.reason


def test_processes_killed_for_lack_of_memory_lower_the_capacity() -> None:
    measured = host()
    killed = replace(measured, probed=replace(measured.probed, oom_kills=3))
    assert said(killed, replace(NOW, capacity=4))["runner.capacity"].advised == "3"
    assert "lack of memory" in said(killed)["runner.capacity"].reason


def test_slots_that_are_never_all_used_need_no_more() -> None:
    measured = host()
    idle = replace(measured, probed=replace(measured.probed, stages={0: 900, 1: 90, 2: 10}))
    advice = said(idle)["runner.capacity"]
    assert not advice.changes
    assert "busy 1% of the time; 4 would be possible" in advice.reason
    busy = replace(measured, probed=replace(measured.probed, stages={0: 100, 2: 900}))
    assert said(busy)["runner.capacity"].advised == "4"


def test_a_disk_that_the_system_needs_too_is_not_given_away() -> None:
    own, shared = host(), replace(host(), shared_with_root=True)
    sizes = [ByteSize.parse(said(x)["cache.max"].advised).count for x in (own, shared)]
    assert sizes == [400 * GIB, 250 * GIB]


def test_sizes_of_now_are_shown_as_they_were_written() -> None:
    now = replace(NOW, cache_max=390 * GIB, written={"cache.max": "78%"})
    advice = said(host(), now)["cache.max"]
    assert (advice.now, advice.changes) == ("78%", False)
    assert said(host(), replace(now, cache_max=200 * GIB))["cache.max"].now == "78%"


def test_what_is_unknown_gets_no_advice() -> None:
    nothing = Measured(None, None, None, False, Probed())
    advice = said(nothing)
    assert {key for key, x in advice.items() if x.advised is None} == {
        "runner.capacity", "cache.max", "cache.min_free",
    }  # fmt: skip


def evicting(size: int = 500 * GIB, looks: int = 8640, **evicted: Evicted) -> Measured:
    measured = host(size=size)
    probed = replace(measured.probed, evictions=Evictions(**evicted), stages={0: looks})
    return replace(measured, probed=probed)


def test_a_cache_that_loses_what_was_of_use_gets_more_and_the_reason() -> None:
    advice = said(evicting(layers=Evicted(12, 3 * GIB, 2 * 3600 + 59)))["cache.max"]
    assert advice.advised == "400GiB"
    assert advice.reason.endswith("GC took 3.0 GiB, some of it unused for only 2h")


def test_a_cache_that_loses_nothing_of_use_needs_no_more() -> None:
    for measured in (evicting(), evicting(layers=Evicted(3, GIB, 9 * DAY))):
        advice = said(measured)["cache.max"]
        assert not advice.changes
        assert "400GiB would be possible" in advice.reason
    assert said(evicting(looks=100))["cache.max"].changes  # too short a time to know


def test_a_cache_that_the_disk_cannot_hold_shrinks_whatever_gc_took() -> None:
    assert said(evicting(size=40 * GIB))["cache.max"].advised == "32GiB"
    lost = evicting(size=40 * GIB, mounts=Evicted(1, GIB, 60))
    assert said(lost)["cache.max"].advised == "32GiB"


@given(
    cpus=st.floats(0.1, 256), memory=st.integers(GIB // 4, 2048 * GIB),
    size=st.integers(GIB, 20_000 * GIB), free=st.floats(0, 1), used=st.floats(0, 1),
    capacity=st.integers(1, 64), shared=st.booleans(), kills=st.integers(0, 5),
)  # fmt: skip
def test_advice_is_always_possible_explained_and_stable(
    cpus: float, memory: int, size: int, free: float, used: float,
    capacity: int, shared: bool, kills: int,
) -> None:  # fmt: skip
    available = int(size * free)
    use = CacheUse(int((size - available) * used), 0, 0)
    probed = Probed(use=use, oom_kills=kills)
    measured = Measured(cpus, memory, disk(size, available), shared, probed)
    advice = said(measured, replace(NOW, capacity=capacity))
    assert all(x.reason and x.advised for x in advice.values())
    values = {key: x.advised or "" for key, x in advice.items()}
    assert 1 <= int(values["runner.capacity"]) <= 64
    sizes = {key: ByteSize.parse(values[key]).count for key in ("cache.max", "cache.min_free")}
    if kills:
        return
    followed = replace(
        NOW, capacity=int(values["runner.capacity"]),
        cache_max=sizes["cache.max"], min_free=sizes["cache.min_free"],
    )  # fmt: skip
    again = said(measured, followed)
    assert not again["runner.capacity"].changes
    assert not again["cache.max"].changes
    assert not again["cache.min_free"].changes


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("memory_limit max\ncpu_limit max 100000", Probed()),
        ("memory_limit 9223372036854771712\ncpu_limit -1 100000", Probed()),
        ("memory_limit 2147483648\ncpu_limit 150000 100000", Probed(2 * GIB, 1.5)),
        ("memory_peak 5\noom_kills 1\nnonsense\n\nstages x", Probed(memory_peak=5, oom_kills=1)),
        ("stages 1 2 3\nstages 2 2 4\nstages 2 0 9", Probed(stages={2: 7, 0: 9})),
        ("cache regular 5\ncache source.local 2", Probed(use=CacheUse(5, 0, 2))),
        ("evictions\nevicted x", Probed(evictions=Evictions())),
        (
            "evictions\nevicted 1 gc regular 2 30 90\nevicted 2 gc regular 1 10 60\n"
            "evicted 2 gc exec.cachemount 1 7 5\nevicted 2 janitor regular 1 9 5\n"
            "evicted 2 gc source.local 8 8 8\nevicted 2 gc regular",
            Probed(evictions=Evictions(Evicted(3, 40, 60), Evicted(1, 7, 5), Evicted(1, 9, 5))),
        ),
    ],
)
def test_the_probes_answer_is_read(lines: str, expected: Probed) -> None:
    assert parse_probe(lines) == expected


def test_a_hit_rate_is_over_steps_and_broken_lines_are_left_out() -> None:
    lines = 'build {"total_steps": 8, "cached_steps": 6}\nbuild {\nbuild {"total_steps": 2}'
    history = parse_probe(lines).history
    assert history is not None
    assert (history.builds, history.hit_rate) == (1, 0.75)
