"""The ways through the stages: survey a host, carry out its plan, wait until it is well.

Every command is one of these roads; none has a copy of a stage of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TypeVar

from runnerkit.change.apply import Executor
from runnerkit.change.journal import Owner
from runnerkit.change.lock import hold_lock
from runnerkit.change.manifest import read_manifest
from runnerkit.change.packages import Blocker
from runnerkit.change.plan import Plan, diff, with_patience
from runnerkit.change.progress import Progress
from runnerkit.change.remote import Remote
from runnerkit.change.service_plans import teardown
from runnerkit.collect.probe import Inquiry, collect
from runnerkit.collect.server_probe import ServerLogin
from runnerkit.config.effective import HostConfig
from runnerkit.config.loading import resolve_secret
from runnerkit.desired.settings import secrets_of
from runnerkit.desired.shipped import shipped_files
from runnerkit.desired.state import DesiredState, build
from runnerkit.errors import ExitCode, HostError, RunnerkitError
from runnerkit.facts.host import HostFacts, traits_of
from runnerkit.health.judge import SETTLING, judge
from runnerkit.health.model import HealthReport, Status
from runnerkit.paths import MANIFEST, stack_paths
from runnerkit.reach.transport import Login, Transport, connect
from runnerkit.secret import Secret, mask
from runnerkit.target import parse_target

POLL_SECONDS = 1.0
MOST_AT_ONCE = 32

T = TypeVar("T")


@dataclass(frozen=True)
class Access:
    """How to get in: where secrets are looked up, and whom to ask."""

    base: Path
    accept_new_host_key: bool = False
    ask_host_key: Callable[[str], bool] | None = None
    ask_password: Callable[[str], Secret] | None = None

    def asking(self, aside: Callable[[], AbstractContextManager[None]]) -> Access:
        """The same, but for each question the terminal is got out of the way with `aside`."""
        return replace(
            self,
            ask_host_key=_within(aside, self.ask_host_key),
            ask_password=_within(aside, self.ask_password),
        )


def _within(
    aside: Callable[[], AbstractContextManager[None]], ask: Callable[[str], T] | None
) -> Callable[[str], T] | None:
    if ask is None:
        return None

    def asked(question: str) -> T:
        with aside():
            return ask(question)

    return asked


@dataclass(frozen=True)
class Survey:
    """One host, looked at: what it should be, what it is, and the difference."""

    host: HostConfig
    transport: Transport
    login: ServerLogin
    desired: DesiredState
    facts: HostFacts
    plan: Plan
    move_data: bool = False
    """Whether the plan takes the data along where docker.data changed."""

    def again(self, *, ask_server: bool, move_pins: bool = False) -> Survey:
        """The same host, looked at anew over the same connection.

        With `move_pins` pinned images become those that their tags mean on the host by now.
        """
        return _look(
            self.host, self.transport, self.login,
            ask_server=ask_server, move_data=self.move_data, move_pins=move_pins,
        )  # fmt: skip

    def report(self) -> HealthReport:
        """The judgement over these facts."""
        return judge(self.desired, self.facts)


@dataclass(frozen=True)
class Changing:
    """A host whose lock is held: what `survey` tells, and the right to change it.

    `generation` is the one in force at the beginning, 0 where there is none.
    """

    survey: Survey
    executor: Executor
    generation: int


def rpc_secret(host: HostConfig, access: Access) -> Secret:
    """The secret that the runner shows the server. Raises ConfigError."""
    return resolve_secret(host.secret, where=f"hosts.{host.name}.secret", base=access.base)


@contextmanager
def reach(host: HostConfig, access: Access) -> Iterator[Transport]:
    """A connection to `host` for as long as the block runs. Raises UnreachableError."""
    password = None
    if host.sudo_password is not None:
        where = f"hosts.{host.name}.sudo_password"
        password = resolve_secret(host.sudo_password, where=where, base=access.base)
    login = Login(
        name=host.name,
        target=parse_target(host.ssh),
        identity=host.identity,
        known_hosts=host.known_hosts,
        sudo=host.sudo,
        sudo_password=password,
        connect_timeout=float(int(host.connect_timeout)),
        accept_new_host_key=access.accept_new_host_key,
    )
    transport = connect(login, ask_host_key=access.ask_host_key, ask_password=access.ask_password)
    try:
        yield transport
    finally:
        transport.close()


@contextmanager
def survey(
    host: HostConfig, access: Access, *, ask_server: bool = False, check_updates: bool = False
) -> Iterator[Survey]:
    """Load, collect, build and diff for one host; the connection stays open for the block.

    With `ask_server` also what only checks need; with `check_updates` registries are asked, too.
    """
    secret = rpc_secret(host, access)
    login = ServerLogin(host.server, secret, host.tls_verify)
    with reach(host, access) as transport:
        newest = (str(host.docker.image), str(host.runner.image)) if check_updates else ()
        yield _look(host, transport, login, ask_server=ask_server, newest=newest)


@contextmanager
def changing(
    host: HostConfig,
    access: Access,
    owner: Owner,
    progress: Progress,
    *,
    lock_wait: int = 0,
    move_data: bool = False,
) -> Iterator[Changing]:
    """Take the host's lock, then look: nobody else changes it for as long as the block runs.

    Waits at most `lock_wait` seconds for somebody else's change to end. Raises LockedError.
    With `move_data` the plan takes the data along where docker.data changed.
    """
    secret = rpc_secret(host, access)
    login = ServerLogin(host.server, secret, host.tls_verify)
    with (
        reach(host, access) as transport,
        hold_lock(transport, owner, progress, wait_seconds=lock_wait) as fence,
    ):
        found = _look(host, transport, login, ask_server=False, move_data=move_data)
        manifest = read_manifest(found.facts.system.file(MANIFEST))
        generation = manifest.generation if manifest else 0
        remote = Remote(transport, fence)
        executor = Executor(
            remote, owner, found.desired.paths, generation, progress,
            secrets=secrets_of(host, secret),
        )  # fmt: skip
        yield Changing(found, executor, generation)


def _look(
    host: HostConfig,
    transport: Transport,
    login: ServerLogin,
    *,
    ask_server: bool,
    newest: tuple[str, ...] = (),
    move_data: bool = False,
    move_pins: bool = False,
) -> Survey:
    paths = stack_paths(host.stack, host.docker.data)
    inquiry = _inquiry(host, login, newest) if ask_server else None
    facts = collect(host.name, transport, paths, inquiry)
    log = mask(facts.runner_log, secrets_of(host, login.secret))
    facts = replace(facts, runner_log=log)
    traits = traits_of(facts, move_pins=move_pins)
    desired = build(host, login.secret, traits, shipped_files())
    plan = diff(desired, facts, move_data=move_data)
    return Survey(host, transport, login, desired, facts, plan, move_data)


def _inquiry(host: HostConfig, login: ServerLogin, newest: tuple[str, ...]) -> Inquiry:
    nameservers = tuple(str(server) for server in host.docker.dns)
    return Inquiry(login, tuple(host.docker.mirrors), host.registry.cache, nameservers, newest)


def refuse_if_blocked(plan: Plan) -> None:
    """Raise HostError with the first reason why nothing can be done on this host."""
    refuse(plan.host, plan.blockers)


def refuse(host: str, blockers: tuple[Blocker, ...]) -> None:
    """Raise HostError with the first of `blockers`, if there is one."""
    for blocker in blockers:
        raise HostError(f"{host}: {blocker.message}", hint=blocker.hint)


def wait_until_well(
    found: Survey,
    progress: Progress,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> HealthReport:
    """Collect and judge until all that settles by itself has, at most docker.health_timeout."""
    deadline = clock() + found.desired.health_seconds
    progress.begin(found.host.name, "check health")
    while True:
        report = found.again(ask_server=True).report()
        waiting = [
            check.id
            for check in report.checks
            if check.id in SETTLING and check.status in (Status.FAIL, Status.WARN)
        ]
        if not waiting or clock() >= deadline:
            progress.end(found.host.name, ok=report.exit_code is ExitCode.OK)
            return report
        progress.detail(found.host.name, f"waiting for {', '.join(waiting)}")
        sleep(POLL_SECONDS)


def take_down(change: Changing, *, purge: tuple[str, ...] = (), force: bool = False) -> None:
    """Drain the runner, remove the containers and, when given, delete the directories `purge`."""
    found = change.survey
    plan = teardown(found.desired, found.facts, purge=purge)
    change.executor.execute(with_patience(plan, 0) if force else plan, force=force)


def as_done(
    hosts: Iterable[HostConfig], work: Callable[[HostConfig], T]
) -> Iterator[tuple[str, T | RunnerkitError]]:
    """Do `work` on all hosts at once; gives each host's value or error as soon as it is there."""
    chosen = tuple(hosts)
    with ThreadPoolExecutor(max_workers=min(MOST_AT_ONCE, max(1, len(chosen)))) as pool:
        futures = {pool.submit(work, host): host.name for host in chosen}
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except RunnerkitError as error:
                yield futures[future], error


def on_each(
    hosts: Iterable[HostConfig], work: Callable[[HostConfig], T]
) -> tuple[dict[str, T], dict[str, RunnerkitError]]:
    """Do `work` on all hosts at once; one host's failure does not stop the others.

    Returns the values and the errors by host name, in the order of `hosts`.
    """
    chosen = tuple(hosts)
    found = dict(as_done(chosen, work))
    values: dict[str, T] = {}
    errors: dict[str, RunnerkitError] = {}
    for host in chosen:
        result = found[host.name]
        if isinstance(result, RunnerkitError):
            errors[host.name] = result
        else:
            values[host.name] = result
    return values, errors


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The exit code of several hosts together: unreachable, then error, then unhealthy."""
    order = (
        ExitCode.UNREACHABLE,
        ExitCode.LOCKED,
        ExitCode.USAGE,
        ExitCode.ERROR,
        ExitCode.UNHEALTHY,
    )
    present = set(codes)
    return next((code for code in order if code in present), ExitCode.OK)


def one_at_a_time(ask: Callable[[str], T]) -> Callable[[str], T]:
    """Questions from several hosts at once, asked one after the other."""
    lock = Lock()

    def asked(question: str) -> T:
        with lock:
            return ask(question)

    return asked
