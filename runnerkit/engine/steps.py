"""A pipeline's steps in a Docker engine, through the docker CLI of this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from runnerkit.engine.own_docker import explained
from runnerkit.errors import HostError
from runnerkit.pipeline.execute import Ended
from runnerkit.pipeline.planned import PlannedMount, PlannedStep, RunPlan
from runnerkit.secret import Secret

if TYPE_CHECKING:
    from runnerkit.engine.own_docker import DockerClient

RUN_LABEL = "runnerkit.run"

_MTU_OPTION = "com.docker.network.driver.mtu"


class DockerSteps:
    """Runs steps for `pipeline.execute`.

    Everything it makes carries a label with the plan's id, by which it is found again. Secrets
    reach the CLI in a file of mode 0600 that is gone before the container starts.
    """

    def __init__(self, client: DockerClient) -> None:
        self._client = client
        self._stopped: set[str] = set()

    def prepare(self, plan: RunPlan) -> None:
        """Create network and volumes. Raises HostError."""
        with explained("could not create the network and volumes"):
            for volume in plan.volumes:
                self._client.volume.create(volume, labels=_labels(plan))
            self._client.network.create(
                plan.network, driver="bridge", labels=_labels(plan), options=self._mtu()
            )

    def fill(self, plan: RunPlan, step: PlannedStep, sources: Path) -> None:
        """Copy what is in `sources` to where the workspace is mounted. Raises HostError."""
        self._provide(step)
        [workspace] = step.mounts
        with explained("could not copy the sources"):
            self._refuse_if_stopped(plan)
            container = self._client.container.create(
                step.image, name=_name(plan, step), labels=_labels(plan, step), pull="never",
                volumes=[(workspace.source, workspace.path)],
            )  # fmt: skip
            self._client.container.copy(f"{sources}/.", (container.id, workspace.path))

    def run(
        self,
        plan: RunPlan,
        step: PlannedStep,
        secrets: Mapping[str, Secret],
        on_line: Callable[[str], None],
    ) -> Ended:
        """Run one container to its end. Raises HostError, also when it is stopped meanwhile."""
        self._provide(step)
        with explained(f"could not run {step.image}"):
            self._refuse_if_stopped(plan)
            container = self._create(plan, step, secrets)
            self._refuse_if_stopped(plan)
            self._client.container.start(container)
            for item in self._client.container.logs(container, follow=True, stream=True):
                _, line = cast(tuple[str, bytes], item)
                on_line(line.decode(errors="replace").rstrip("\r\n"))
            code = self._client.container.wait(container)
            state = self._client.container.inspect(container).state
            return Ended(code, bool(state.oom_killed))

    def stop(self, plan: RunPlan) -> None:
        """Kill the plan's containers, and let no other one start. Never raises."""
        self._stopped.add(plan.id)
        with suppress(Exception):
            running = self._client.container.list(filters=_mine(plan))
            if running:
                self._client.container.kill(running)

    def clear(self, plan: RunPlan) -> None:
        """Remove everything that carries the plan's id. Raises HostError."""
        with explained(f"could not remove what carries the label {RUN_LABEL}={plan.id}"):
            containers = self._client.container.list(all=True, filters=_mine(plan))
            if containers:
                self._client.container.remove(containers, force=True, volumes=True)
            self._client.volume.remove([*self._client.volume.list(filters=_mine(plan))])
            self._client.network.remove([*self._client.network.list(filters=_mine(plan))])

    def _refuse_if_stopped(self, plan: RunPlan) -> None:
        if plan.id in self._stopped:
            raise HostError("the pipeline was ended")

    def _provide(self, step: PlannedStep) -> None:
        """Have the step's image there, by the rules of its `pull:`. Raises HostError."""
        with explained(f"could not look for {step.image}"):
            there = self._client.image.exists(step.image)
        if step.pull == "always" or (step.pull == "if-not-exists" and not there):
            with explained(f"could not pull {step.image}"):
                self._client.image.pull(step.image, quiet=True)
        elif not there:
            raise HostError(
                f"{step.image} is not in the engine, and `pull: never` forbids to get it"
            )

    def _create(self, plan: RunPlan, step: PlannedStep, secrets: Mapping[str, Secret]) -> str:
        entrypoint, *arguments = step.entrypoint or ("",)
        with _secret_file(secrets) as env_files:
            container = self._client.container.create(
                step.image,
                [*arguments, *step.command],
                name=_name(plan, step),
                labels=_labels(plan, step),
                pull="never",
                entrypoint=entrypoint or None,
                envs=dict(step.environment),
                env_files=env_files,
                workdir=step.working_dir or None,
                user=step.user or None,
                privileged=step.privileged,
                volumes=[(m.source, m.path) for m in step.mounts if not m.in_memory],
                mounts=[_tmpfs(mount) for mount in step.mounts if mount.in_memory],
                devices=step.devices,
                networks=[step.network_mode or plan.network],
                network_aliases=[] if step.network_mode else [step.name],
                dns=step.dns,
                dns_search=step.dns_search,
                add_hosts=[_host_entry(entry) for entry in step.extra_hosts],
                log_driver="json-file",
                memory=step.memory or None,
                memory_swap=step.memory_swap or None,
                shm_size=step.shm_size or None,
                cpus=step.cpus or None,
            )
        if not step.network_mode:
            for network in step.networks:
                self._client.network.connect(network, container)
        return container.id

    def _mtu(self) -> list[str]:
        """The option that gives pipeline networks the packet size of the engine's own bridge."""
        with suppress(Exception):
            size = self._client.network.inspect("bridge").options.get(_MTU_OPTION)
            if size:
                return [f"{_MTU_OPTION}={size}"]
        return []


@contextmanager
def _secret_file(secrets: Mapping[str, Secret]) -> Iterator[list[Path]]:
    if not secrets:
        yield []
        return
    lines = []
    for name, secret in secrets.items():
        if "\n" in secret.reveal().rstrip("\n"):
            raise HostError(
                f"the secret for {name} has several lines, which docker's env files cannot carry",
                hint="leave the step out with --step",
            )
        lines.append(f"{name}={secret.reveal().rstrip()}\n")
    with tempfile.TemporaryDirectory(prefix="runnerkit-") as folder:
        path = Path(folder) / "secrets.env"
        path.touch(mode=0o600)
        path.write_text("".join(lines), encoding="utf-8")
        yield [path]


def _labels(plan: RunPlan, step: PlannedStep | None = None) -> dict[str, str]:
    own = (
        {"io.drone.step.number": str(step.number), "io.drone.step.name": step.name} if step else {}
    )
    return {**plan.labels, **own, RUN_LABEL: plan.id}


def _mine(plan: RunPlan) -> dict[str, str]:
    return {"label": f"{RUN_LABEL}={plan.id}"}


def _name(plan: RunPlan, step: PlannedStep) -> str:
    return f"{plan.id}-{step.number}"


def _tmpfs(mount: PlannedMount) -> list[str]:
    size = [f"tmpfs-size={mount.size}"] if mount.size else []
    return ["type=tmpfs", f"destination={mount.path}", "tmpfs-mode=0700", *size]


def _host_entry(entry: str) -> tuple[str, str]:
    name, _, address = entry.partition(":")
    return name, address
