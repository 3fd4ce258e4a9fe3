"""Everything that runnerkit raises on purpose.

    RunnerkitError                  exit 1
    ├── ConfigError                 exit 2  runnerkit.yml, its secrets, or an argument is wrong
    ├── UnreachableError            exit 5  no answer, refused, wrong or unknown key, no login
    ├── ConnectionLostError         exit 5  the host went away in the middle of something
    ├── HostError                   exit 1  the host answered, but cannot be used as it is
    ├── ActionError                 exit 1  an action of a plan failed
    └── LockedError                 exit 6  somebody else is changing the host

Whatever is raised says what happened and where; `hint` is the next thing to try.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit status tells a script."""

    OK = 0
    ERROR = 1
    USAGE = 2
    CHANGES_PENDING = 3
    UNHEALTHY = 4
    UNREACHABLE = 5
    LOCKED = 6
    INTERRUPTED = 130


class RunnerkitError(Exception):
    """An expected failure, shown to the user without a traceback.

    `hint`, when there is one, is a whole sentence or a command to try next.
    """

    exit_code = ExitCode.ERROR

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class ConfigError(RunnerkitError):
    """One or more things are wrong with the configuration; `problems` are `path: what` lines."""

    exit_code = ExitCode.USAGE

    def __init__(
        self, message: str, *, hint: str | None = None, problems: tuple[Problem, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class Problem:
    """One wrong place in the configuration: where, what is wrong, how to mend it."""

    def __init__(self, path: str, message: str, hint: str | None = None) -> None:
        self.path = path
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class UnreachableError(RunnerkitError):
    """No usable connection to a host could be made."""

    exit_code = ExitCode.UNREACHABLE


class ConnectionLostError(UnreachableError):
    """The connection ended while something was under way."""


class HostError(RunnerkitError):
    """The host answered, but it cannot be used as it is."""


class ActionError(RunnerkitError):
    """An action of a plan failed; nothing after it was done."""


class LockedError(RunnerkitError):
    """Somebody else is changing the host."""

    exit_code = ExitCode.LOCKED
