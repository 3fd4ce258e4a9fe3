"""What a host should be set to, each value with its reason. Pure.

The rules are rules of thumb, so each says what it reckons with. A value that is near enough to the
present one stays: advice that changes with every look is of no use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from runnerkit.tuning.measured import Evicted, Evictions, Measured
from runnerkit.units import Amount, ByteSize, Duration, format_bytes, format_duration

GIB = 1 << 30
DAY = 86400

CORES_PER_STAGE = 2.0
STAGE_MEMORY = 2 * GIB
SMALLEST_STAGE_MEMORY = GIB // 2
SYSTEM_MEMORY = GIB
MOST_STAGES = 16
# Below an hour of looking, an idle runner proves nothing.
ENOUGH_SECONDS = 3600
RARELY = 0.05

BUILD_DISK = 4 * GIB
"""What one running build may write before the cache or the janitor can give anything back."""
NEAR_ENOUGH = 0.15

# What was used within a day and is evicted is built again soon; what GC spared for a day of looking
# shows that there is room enough.
RECENT_SECONDS = DAY


@dataclass(frozen=True)
class Settings:
    """What is set now; sizes in bytes, ages in seconds.

    `written` has the sizes as the configuration spells them, by key: `50%` for one.
    """

    capacity: int
    cache_max: int
    min_free: int
    keep_mounts: int
    keep_layers: int
    written: Mapping[str, str] = field(default_factory=dict)

    def size(self, key: str, count: int) -> str:
        """A size of now as a person reads it."""
        return self.written.get(key, _size(count))


@dataclass(frozen=True)
class Advice:
    """One key of a host: its value now and the one advised, as runnerkit.yml spells them.

    Equal texts: it is good as it is. `advised` is None where too little is known to say.
    """

    key: str
    now: str
    advised: str | None
    reason: str

    @property
    def changes(self) -> bool:
        """Whether following it changes something."""
        return self.advised is not None and self.advised != self.now


def advise(measured: Measured, now: Settings) -> tuple[Advice, ...]:
    """Advice for every key that `tune` looks after, in the order in which it is reckoned."""
    capacity = _capacity(measured, now)
    slots = int(capacity.advised or capacity.now)
    min_free = _min_free(measured, now, slots)
    floor = _bytes(min_free, now.min_free)
    cache_max = _cache_max(measured, now, floor)
    ceiling = _bytes(cache_max, now.cache_max)
    return (capacity, cache_max, min_free, _keep_layers(now, ceiling), _keep_mounts(now, ceiling))


def _bytes(advice: Advice, now: int) -> int:
    """What a size will be when the advice is followed."""
    return ByteSize.parse(advice.advised).count if advice.changes else now


def _capacity(measured: Measured, now: Settings) -> Advice:
    key, current = "runner.capacity", now.capacity
    if measured.cpus is None or measured.memory is None:
        return Advice(key, str(current), None, "the host tells neither its cores nor its memory")
    each, source = _stage_memory(measured)
    usable = max(0, measured.memory - SYSTEM_MEMORY)
    by_cores = max(1, int(measured.cpus / CORES_PER_STAGE))
    by_memory = max(1, usable // each)
    best = min(by_cores, by_memory, MOST_STAGES)
    if by_cores <= by_memory:
        reason = f"{measured.cpus:g} cores at {CORES_PER_STAGE:g} for a pipeline"
    else:
        reason = f"{format_bytes(usable)} of memory at {format_bytes(each)} for a pipeline{source}"
    kills = measured.probed.oom_kills or 0
    if kills and best >= current:
        best = max(1, current - 1)
        reason = f"the kernel ended {kills} processes in dind for lack of memory"
    share = measured.busy_share(current)
    if best > current and share is not None and measured.observed_seconds >= ENOUGH_SECONDS:
        used = f"all {current} slots were busy {share:.0%} of the time"
        if share < RARELY:
            return Advice(key, str(current), str(current), f"{used}; {best} would be possible")
        reason += f"; {used}"
    return Advice(key, str(current), str(best), reason)


def _stage_memory(measured: Measured) -> tuple[int, str]:
    """Bytes to reckon with for one stage, and where they come from when they were measured.

    The peak holds page cache too, so its share is more than a stage needs: safe to reckon with.
    """
    peak, most = measured.probed.memory_peak, measured.most_stages
    if not peak or not most or measured.observed_seconds < ENOUGH_SECONDS:
        return STAGE_MEMORY, ""
    each = max(SMALLEST_STAGE_MEMORY, peak // most)
    return (each, ", as measured") if each < STAGE_MEMORY else (STAGE_MEMORY, "")


def _min_free(measured: Measured, now: Settings, slots: int) -> Advice:
    key = "cache.min_free"
    if measured.disk is None:
        return Advice(key, now.size(key, now.min_free), None, "the size of the disk is unknown")
    total = measured.disk.total
    wanted = slots * BUILD_DISK
    least, most = total // 20, total // 5
    if wanted > most:
        best, reason = most, f"a fifth of the disk; {slots} at {format_bytes(BUILD_DISK)} are more"
    elif wanted < least:
        best, reason = least, "a twentieth of the disk, so that filesystems stay fast"
    else:
        best = wanted
        reason = f"what {slots} running pipelines may write, {format_bytes(BUILD_DISK)} each"
    return _sized(key, now, now.min_free, best, reason)


def _cache_max(measured: Measured, now: Settings, floor: int) -> Advice:
    key, disk, use = "cache.max", measured.disk, measured.probed.use
    if disk is None or use is None:
        return Advice(
            key,
            now.size(key, now.cache_max),
            None,
            "the janitor has not measured the cache yet",
        )
    others = max(0, disk.total - disk.available - use.all)
    room = max(0, disk.total - floor - others - others // 4)
    most = disk.total // 2 if measured.shared_with_root else disk.total * 4 // 5
    least = disk.total // 5
    if room > most:
        share = (
            "half of a disk that the system lies on"
            if measured.shared_with_root
            else "four fifths of the disk"
        )
        return _ceiling(measured, now, most, share)
    reason = f"the disk less {format_bytes(floor)} free and {format_bytes(others)} of other data"
    if room < least:
        return _ceiling(measured, now, least, f"a fifth of the disk; {reason} would be less")
    return _ceiling(measured, now, room, f"{reason} with a quarter for its growth")


def _ceiling(measured: Measured, now: Settings, best: int, reason: str) -> Advice:
    """`best` for cache.max; what is set now where more than that has been of no use."""
    key = "cache.max"
    advice = _sized(key, now, now.cache_max, best, reason)
    taken = _recently_taken(measured)
    if taken is not None:
        span = format_duration(taken.unused_seconds // 60 * 60)
        lost = f"GC took {format_bytes(taken.bytes)}, some of it unused for only {span}"
        return replace(advice, reason=f"{reason}; {lost}")
    if not advice.changes or best < now.cache_max or not _would_have_seen(measured):
        return advice
    shown = now.size(key, now.cache_max)
    spared = f"GC took nothing that was used within a day; {advice.advised} would be possible"
    return Advice(key, shown, shown, spared)


def _recently_taken(measured: Measured) -> Evicted | None:
    """What the engine's GC took although it had been used a short while ago."""
    evictions = measured.probed.evictions or Evictions()
    found = [x for x in (evictions.layers, evictions.mounts) if x is not None]
    recent = [x for x in found if x.unused_seconds < RECENT_SECONDS]
    if not recent:
        return None
    return Evicted(
        sum(x.count for x in recent),
        sum(x.bytes for x in recent),
        min(x.unused_seconds for x in recent),
    )


def _would_have_seen(measured: Measured) -> bool:
    known = measured.probed.evictions is not None
    return known and measured.observed_seconds >= RECENT_SECONDS


def _keep_layers(now: Settings, ceiling: int) -> Advice:
    days = _by_ceiling(ceiling, 7, 14, 30)
    reason = f"{format_bytes(ceiling)} of cache: old layers should {_stay(ceiling)}"
    return Advice("cache.keep_layers", str(Duration(now.keep_layers)), f"{days}d", reason)


def _keep_mounts(now: Settings, ceiling: int) -> Advice:
    days = _by_ceiling(ceiling, 30, 60, 90)
    reason = "mounts cost the most to fill again, so they stay for longer than layers"
    return Advice("cache.keep_mounts", str(Duration(now.keep_mounts)), f"{days}d", reason)


def _by_ceiling(ceiling: int, small: int, middle: int, large: int) -> int:
    if ceiling < 20 * GIB:
        return small
    return middle if ceiling < 100 * GIB else large


def _stay(ceiling: int) -> str:
    return ("make room soon", "go after two weeks", "have time to be of use")[
        _by_ceiling(ceiling, 0, 1, 2)
    ]


def _sized(key: str, now: Settings, present: int, best: int, reason: str) -> Advice:
    """`best` in a round number, or what is set now when that is near enough."""
    unit = GIB if best >= 4 * GIB else GIB // 8
    best = max(unit, best // unit * unit)
    shown = now.size(key, present)
    near = abs(best - present) <= NEAR_ENOUGH * present
    return Advice(key, shown, shown if near else _size(best), reason)


def _size(count: int) -> str:
    return str(Amount(bytes=count))
