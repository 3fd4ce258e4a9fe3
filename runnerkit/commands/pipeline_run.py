"""`pipeline run`: a repository's pipelines on this machine's engine, or on a runner's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from runnerkit.commands.shared import AcceptOption, ConfigOption, JsonOption, load, one
from runnerkit.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from runnerkit.config.effective import HostConfig
    from runnerkit.pipeline.execute import StepEngine
    from runnerkit.roads import Access
    from runnerkit.secret import Secret

# What a command needs is imported in it: `--help` must not wait for paramiko.
# ruff: noqa: PLC0415

EventName = Literal["push", "pull_request", "tag", "cron", "custom", "promote", "rollback"]


def run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The repository.")] = Path(),
    on: Annotated[
        str | None, typer.Option("--on", metavar="HOST", help="Use this runner's engine.")
    ] = None,
    step: Annotated[
        list[str] | None,
        typer.Option(help="Only this step, after those it depends on. Repeatable."),
    ] = None,
    pipeline: Annotated[
        list[str] | None, typer.Option(help="Only this pipeline. Repeatable.")
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SOURCE", help="A secret: NAME=env:VAR, file:PATH or cmd:COMMAND."
        ),
    ] = None,
    event: Annotated[EventName, typer.Option(help="The event to build for.")] = "push",
    branch: Annotated[str, typer.Option(help="Instead of the branch checked out.")] = "",
    tag: Annotated[str, typer.Option(help="The tag, with --event tag.")] = "",
    target: Annotated[str, typer.Option(help="The target, with --event promote.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Run the steps of .drone.yml as CI would, with what is not committed yet.

    The repository counts as trusted. Containers, networks and volumes are gone afterwards; images
    and caches stay, as they do in CI.
    """
    import signal
    import tempfile

    from runnerkit.pipeline.runs import Wish, here, place_of, prepare
    from runnerkit.pipeline.runs import run as run_pipelines
    from runnerkit.report.pipeline_run import Lines, run_json, run_text
    from runnerkit.report.screens import stderr_console, stdout_console

    # A run that is told to end cleans up after itself, whoever tells it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if (event == "tag") != bool(tag):
        raise ConfigError("--event tag and --tag go together", hint="--event tag --tag v1.0.0")
    wish = Wish(folder, tuple(pipeline or ()), tuple(step or ()), event, branch, target, tag)
    host, access = _host(on, config, accept_new_host_key)
    place = place_of(host) if host else here()
    console = stderr_console() if as_json else stdout_console()
    with tempfile.TemporaryDirectory(prefix="runnerkit-") as workbench:
        prepared = prepare(wish, place, Path(workbench))
        values = _secrets(secret or (), prepared.secrets)
        results = []
        with _engine(host, access, Path(workbench)) as engine:
            for result in run_pipelines(prepared, engine, Lines(console), values):
                results.append(result)
                if not as_json:
                    console.print(run_text(result, place.machine))
    if as_json:
        typer.echo(run_json(results, place.machine, prepared.checkout.commit, prepared.passed_over))
    else:
        for name, reason in prepared.passed_over.items():
            console.print(f"{name}: not run, {reason}", highlight=False)
    if not all(result.ok for result in results):
        raise typer.Exit(ExitCode.ERROR)


def _host(
    name: str | None, config: Path | None, accept_new_host_key: bool
) -> tuple[HostConfig | None, Access | None]:
    if name is None:
        return None, None
    loaded, access = load(config, accept_new_host_key)
    return one(loaded, name), access


@contextmanager
def _engine(
    host: HostConfig | None, access: Access | None, workbench: Path
) -> Iterator[StepEngine]:
    from runnerkit.engine.asking import dial_argv
    from runnerkit.engine.own_docker import own_client
    from runnerkit.engine.steps import DockerSteps
    from runnerkit.paths import stack_paths
    from runnerkit.roads import reach

    if host is None or access is None:
        with own_client(None) as client:
            yield DockerSteps(client)
        return
    socket = stack_paths(host.stack, host.docker.data).docker_socket
    argv = dial_argv(str(socket))
    with (
        reach(host, access) as transport,
        transport.forward(argv, workbench / "docker.sock") as local,
        own_client(local) as client,
    ):
        yield DockerSteps(client)


def _secrets(given: Sequence[str], wanted: Sequence[str]) -> dict[str, Secret]:
    """The secrets that are wanted. Raises ConfigError when one has no source."""
    from runnerkit.config.loading import resolve_secret
    from runnerkit.config.values import SecretSource

    sources = dict(item.partition("=")[::2] for item in given)
    missing = [name for name in wanted if name not in sources]
    if missing:
        raise ConfigError(
            f"the pipeline needs the secret {missing[0]}",
            hint=f"--secret {missing[0]}=env:{missing[0].upper()}, or leave the step out",
        )
    found = {}
    for name in wanted:
        where = f"--secret {name}"
        try:
            source = SecretSource.parse(sources[name])
        except ValueError as error:
            raise ConfigError(f"{where}: {error}", hint=f"{where}=env:VARIABLE") from None
        found[name] = resolve_secret(source, where=where, base=Path())
    return found
