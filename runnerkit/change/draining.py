"""Taking the runner out of service without ending a build."""

from __future__ import annotations

from collections.abc import Callable

from runnerkit.change.actions import Drain
from runnerkit.change.progress import Progress
from runnerkit.change.remote import Remote
from runnerkit.change.stages import RunningStep, running_steps
from runnerkit.engine.look import look_inner
from runnerkit.errors import ActionError
from runnerkit.facts.daemon import DaemonUnavailable
from runnerkit.units import Duration

POLL_SECONDS = 1.0
# Asking the daemon what runs costs more than asking whether the runner runs.
LOOK_EVERY = 3


class StillRunningError(ActionError):
    """The time for draining is over; the runner goes on with its stages and takes no new ones."""


def drain(
    remote: Remote,
    what: Drain,
    progress: Progress,
    *,
    force: bool,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    """Signal the runner, once in its life, and wait until it has finished its stages.

    Raises StillRunningError after the timeout, naming what still runs; the runner goes on
    draining, and calling again goes on waiting. With `force` what still runs then is ended instead.
    """
    sockets = str(what.paths.sockets)
    deadline = clock() + what.timeout_seconds
    polls = 0
    while True:
        answer = remote.script("drain", sockets, what.container, doing="drain the runner")
        if answer.strip() != b"true":
            return
        now = clock()
        if now >= deadline:
            break
        if polls % LOOK_EVERY == 0:
            progress.detail(remote.host, _told(_steps(remote, what), int(now)))
        polls += 1
        sleep(POLL_SECONDS)
    if not force:
        raise _too_long(remote.host, what, _steps(remote, what), int(now))
    remote.script("end_builds", sockets, what.container, doing="end the running builds")


def _steps(remote: Remote, what: Drain) -> tuple[RunningStep, ...]:
    facts = look_inner(remote.transport, str(what.paths.docker_socket)).daemon
    return () if isinstance(facts, DaemonUnavailable) else running_steps(facts.containers)


def _told(steps: tuple[RunningStep, ...], now: int) -> str:
    if not steps:
        return "waiting for the runner to end"
    more = f" and {len(steps) - 1} more" if len(steps) > 1 else ""
    return f"waiting for {steps[0].told(now)}{more}"


def _too_long(
    host: str, what: Drain, steps: tuple[RunningStep, ...], now: int
) -> StillRunningError:
    lines = "".join(f"\n  {step.told(now)}" for step in steps)
    return StillRunningError(
        f"{host}: stages are still running after {Duration(what.timeout_seconds)}; nothing was "
        f"killed, and the runner takes no new ones{lines and ':'}{lines}",
        hint="run the same command again to go on waiting, or add --force to end them",
    )
