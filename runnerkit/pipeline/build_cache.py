"""How much of a `docker build` came from cache, read from what BuildKit printed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# `#7 [base 2/4] RUN …`; FROM is no work, and [internal] steps are not the author's.
_VERTEX = re.compile(r"#(\d+) \[(?:\S+ +)?\d+/\d+\] (?!FROM )(\S.*)")
_BEGIN = re.compile(r"#(\d+) \[internal\] load build definition")
_CACHED = re.compile(r"#(\d+) CACHED\b")
_OVER = re.compile(r"#(\d+) (?:DONE|CACHED|ERROR|CANCELED)\b")


@dataclass(frozen=True)
class CacheUse:
    """Instructions of the Dockerfiles that were built, and those whose result was there already."""

    cached: int
    total: int


NOTHING_BUILT = CacheUse(0, 0)


@dataclass
class CacheCounter:
    """Fed the lines of a step's output as they come; builds after one another add up."""

    _earlier: CacheUse = NOTHING_BUILT
    _seen: set[str] = field(default_factory=set)
    _cached: set[str] = field(default_factory=set)
    _over: set[str] = field(default_factory=set)

    def add(self, line: str) -> None:
        """Read one line; anything but BuildKit's plain progress is passed over."""
        line = line.strip()
        if not line.startswith("#"):
            return
        # Numbers begin anew with each build.
        if (begin := _BEGIN.match(line)) and begin[1] in self._over:
            self._earlier = self.use
            for numbers in (self._seen, self._cached, self._over):
                numbers.clear()
        if vertex := _VERTEX.match(line):
            self._seen.add(vertex[1])
        if cached := _CACHED.match(line):
            self._cached.add(cached[1])
        if over := _OVER.match(line):
            self._over.add(over[1])

    @property
    def use(self) -> CacheUse:
        """What has been counted so far; a total of 0 means that nothing was built."""
        return CacheUse(
            self._earlier.cached + len(self._cached & self._seen),
            self._earlier.total + len(self._seen),
        )
