"""What is left of many measurements: the middle and the spread."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Samples:
    """Measurements of one thing, in seconds, in the order they were made; at least one."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Half of them are not above it: one slow run moves it little."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The smallest."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest."""
        return max(self.values)


def interleaved(work: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Samples]:
    """Do each piece of `work` once a round, so that what disturbs the machine disturbs all.

    Every other round goes backwards: no piece always comes after the same one.
    """
    values: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds):
        names = list(work)[:: 1 if number % 2 == 0 else -1]
        for name in names:
            values[name].append(work[name]())
    return {name: Samples(tuple(found)) for name, found in values.items()}
