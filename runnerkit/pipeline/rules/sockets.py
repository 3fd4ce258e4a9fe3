"""Rules about how a pipeline reaches the runner's daemon and its files. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from runnerkit.pipeline.drone import FILE_NAME, Mount, Pipeline, Step, Volume
from runnerkit.pipeline.finding import Edit, Finding, Severity
from runnerkit.pipeline.project import Project
from runnerkit.pipeline.rule import rule

SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")
DIND = re.compile(r"(?:^|/)docker:(?:[\w.-]*-)?dind(?:-rootless)?(?:$|@)")


def mountings(project: Project) -> Iterator[tuple[Pipeline, Step, Mount, Volume]]:
    """Every volume that a step or service mounts, with what it is."""
    for pipeline in project.pipelines:
        for step in (*pipeline.steps, *pipeline.services):
            for mount in step.volumes:
                volume = pipeline.volume(mount.name)
                if volume is not None:
                    yield pipeline, step, mount, volume


def _is_socket(volume: Volume) -> bool:
    return volume.host in SOCKETS


@rule("socket-untrusted", Severity.ERROR)
def socket_untrusted(project: Project) -> Iterator[Finding]:
    """A repository that Drone does not trust mounts the daemon's socket.

    Drone refuses host volumes there, and rightly: the socket gives root in the runner's daemon to
    whoever can open a pull request. Found with --untrusted only, as the files do not say it.
    """
    if project.trusted:
        return
    for _, step, mount, volume in mountings(project):
        if _is_socket(volume):
            yield Finding(
                FILE_NAME,
                mount.line,
                f"{step.name} mounts the daemon's socket, and the repository is not trusted",
                "mark the repository as trusted in Drone, if everybody who can push is",
            )


@rule("socket-path", Severity.ERROR)
def socket_path(project: Project) -> Iterator[Finding]:
    """The daemon's socket is mounted where no client looks.

    A docker CLI speaks to /var/run/docker.sock unless DOCKER_HOST says otherwise; at any other
    place the step finds no daemon.
    """
    for pipeline, step, mount, volume in mountings(project):
        told = step.environment.get("DOCKER_HOST") or pipeline.environment.get("DOCKER_HOST")
        if _is_socket(volume) and mount.path not in SOCKETS and not told:
            line = mount.path.line
            yield Finding(
                FILE_NAME,
                line,
                f"{step.name} has the socket at {mount.path or 'no path'}",
                f"path: {SOCKETS[0]}",
                (Edit(line, str(mount.path), SOCKETS[0]),) if mount.path else (),
            )


@rule("socket-to-plugin", Severity.ERROR)
def socket_to_plugin(project: Project) -> Iterator[Finding]:
    """A plugin gets the daemon's socket.

    plugins/docker and its kin start a daemon of their own, for which the runner makes them
    privileged, but only without volumes. With the socket they lose that and fail; without it they
    build with an empty cache. Build with docker:cli over the socket and push from there.
    """
    for _, step, mount, volume in mountings(project):
        if _is_socket(volume) and step.image.startswith(("plugins/", "docker.io/plugins/")):
            yield Finding(
                FILE_NAME,
                mount.line,
                f"{step.image} cannot use the socket and loses its privileges by it",
                "build and push in a docker:cli step",
            )


@rule("dind-service", Severity.WARNING)
def dind_service(project: Project) -> Iterator[Finding]:
    """A pipeline starts a Docker daemon of its own.

    It begins empty each time: every base image is pulled and every layer built again, cache mounts
    are never warm, and the service has to be privileged. The runner's daemon has all of that.
    """
    for pipeline in project.pipelines:
        for step in (*pipeline.services, *pipeline.steps):
            if DIND.search(step.image) and (step in pipeline.services or step.detach):
                yield Finding(
                    FILE_NAME,
                    step.line_of("image"),
                    f"{step.name} is a daemon that starts without any cache",
                    "mount /var/run/docker.sock of the runner's daemon into the step that builds",
                )


@rule("host-path", Severity.WARNING)
def host_path(project: Project) -> Iterator[Finding]:
    """A folder of the runner is mounted into a pipeline.

    It lies inside of the runner's daemon, so it differs between runners and nobody cleans it up;
    it needs a trusted repository. A cache mount in the Dockerfile or a `temp` volume does not.
    """
    for pipeline in project.pipelines:
        for volume in pipeline.volumes:
            if volume.host and not _is_socket(volume):
                yield Finding(
                    FILE_NAME,
                    volume.line,
                    f"{volume.name} is {volume.host} of whichever runner takes the build",
                    "temp: {} for data of one build, a cache mount for what should stay",
                )


@rule("volume-unknown", Severity.ERROR)
def volume_unknown(project: Project) -> Iterator[Finding]:
    """A step mounts a volume that the pipeline does not have.

    Drone leaves it out without a word, and the step finds nothing at that path.
    """
    for pipeline in project.pipelines:
        for step in (*pipeline.steps, *pipeline.services):
            for mount in step.volumes:
                if pipeline.volume(mount.name) is None:
                    yield Finding(
                        FILE_NAME,
                        mount.line,
                        f"{step.name} mounts {mount.name or 'a volume without a name'},"
                        f" which is not among the volumes of {pipeline.title}",
                        "declare it below volumes: of the pipeline",
                    )


@rule("socket-missing", Severity.ERROR)
def socket_missing(project: Project) -> Iterator[Finding]:
    """A step builds an image and has no daemon to do it.

    Steps are containers; the docker CLI in one reaches the runner's daemon only over its socket.
    """
    for build in project.builds:
        step = build.step
        has_volume = any(_may_be_socket(build.pipeline, mount) for mount in step.volumes)
        told = step.environment.get("DOCKER_HOST") or build.pipeline.environment.get("DOCKER_HOST")
        if not has_volume and not told and not step.privileged:
            yield Finding(
                FILE_NAME,
                build.line,
                f"{step.name} runs docker build without the daemon's socket",
                f"mount {SOCKETS[0]} as a host volume",
            )


def _may_be_socket(pipeline: Pipeline, mount: Mount) -> bool:
    volume = pipeline.volume(mount.name)
    return volume is None or _is_socket(volume) or mount.path.startswith(("/var/run", "/run"))
