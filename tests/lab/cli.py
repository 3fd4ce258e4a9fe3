"""The command line of the lab: JSON on stdout, narration on stderr."""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import sys
from pathlib import Path
from typing import Any

from tests.lab import builds, network, processes
from tests.lab.cache import cache_dir
from tests.lab.host import Kind, parse_size
from tests.lab.lab import ROOT, Lab, current_entries, prepare
from tests.lab.repositories import commit
from tests.lab.shell import LabError, say

DIND = ["20.10", "26.1", "28.5", "28"]


def main(arguments: list[str]) -> int:
    """Run one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    lab = Lab(os.environ.get("RUNNERKIT_LAB") or "lab")
    if os.geteuid() != 0:
        sys.stderr.write("lab: hosts need root\n")
        return 1
    try:
        answer = options.run(lab, options)
    except LabError as error:
        sys.stderr.write(f"lab: {error}\n")
        return 1
    if isinstance(answer, int):
        return answer
    if answer is not None:
        _print(answer)
    return 0


def _print(answer: Any) -> None:
    sys.stdout.write(json.dumps(answer, indent=2) + "\n")


def _kind(options: argparse.Namespace) -> Kind:
    return Kind(
        bare=options.bare,
        systemd=options.systemd,
        disk=parse_size(options.disk) if options.disk else None,
        memory=parse_size(options.memory) if options.memory else None,
    )


def _prepare(_lab: Lab, _options: argparse.Namespace) -> dict[str, Any]:
    prepare()
    return {"cache": str(cache_dir())}


def _up(lab: Lab, options: argparse.Namespace) -> dict[str, Any]:
    return lab.up(options.hosts, _kind(options), options.dind, options.owner)


def _down(lab: Lab, options: argparse.Namespace) -> None:
    names = {lab.name}
    if options.all:
        top = ROOT / ".lab"
        names |= {file.parent.name for file in top.glob("*/lab.json")}
        names |= {state.name for state in network.claims().values() if state.parent == top}
    for name in sorted(names):
        Lab(name).down()


def _keep(lab: Lab, options: argparse.Namespace) -> None:
    """Wait for the owner's end, then take the lab down."""
    owner = processes.Process(options.pid, options.began)
    try:
        handle = os.pidfd_open(owner.pid)
    except ProcessLookupError:
        handle = -1
    # The pid may have become another process's before the handle was opened.
    if handle >= 0 and owner.alive:
        select.select([handle], [], [])
    lab.down()


def _hosts(lab: Lab, _options: argparse.Namespace) -> list[dict[str, Any]]:
    lab.need()
    return [
        {"name": host.name, "address": host.address, "on": host.init is not None}
        | {name: getattr(host.kind, name) for name in ("bare", "systemd", "disk", "memory")}
        for host in lab.hosts().values()
    ]


def _exec(lab: Lab, options: argparse.Namespace) -> None:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise LabError("exec HOST -- COMMAND: no command was given")
    lab.host(options.host).enter(command)


def _add(lab: Lab, options: argparse.Namespace) -> dict[str, Any]:
    return lab.add(options.name, _kind(options))


def _submit(lab: Lab, options: argparse.Namespace) -> int:
    lab.need()
    pipeline = options.pipeline.read_text()
    with lab.lock():
        what = commit(lab.state / "git", options.repo)
    build = builds.submit(lab.server, lab.git, what, pipeline)
    say(f"build {build['build']} of lab/{what.repository} at {what.sha[:10]}")
    if not options.wait:
        _print(build)
        return 0
    ended = builds.wait(lab.server, build["build"], options.timeout)
    _print(ended)
    return 0 if ended["status"] == "success" else 1


def _server(lab: Lab, options: argparse.Namespace) -> Any:
    lab.need()
    body = json.loads(options.body) if options.body else None
    return builds.call(options.method, f"{lab.server}{options.path}", body)


def _prune(_lab: Lab, options: argparse.Namespace) -> dict[str, Any]:
    """Remove what no present recipe makes from the cache, which no lab may be using."""
    running = sorted(str(state) for state in network.claims().values())
    if running:
        raise LabError(f"labs are running: {', '.join(running)}; take them down first")
    wanted = set() if options.all else current_entries()
    removed = [item for item in cache_dir().iterdir() if item.name not in {"locks", *wanted}]
    for item in removed:
        shutil.rmtree(item)
    return {"removed": sorted(item.name for item in removed)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab",
        description="Disposable hosts for the end-to-end tests. RUNNERKIT_LAB names the lab.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    command("prepare", _prepare, "install what this machine needs, build root filesystems, images")

    up = command("up", _up, "start the lab; prints its hosts and services")
    up.add_argument("--hosts", type=int, default=1, metavar="N", help="host1 to hostN")
    _add_kind(up)
    up.add_argument("--dind", choices=DIND, help="docker:X-dind in the config")
    up.add_argument("--owner", type=int, metavar="PID", help="take the lab down when PID ends")

    down = command("down", _down, "remove the lab and everything of it")
    down.add_argument("--all", action="store_true", help="every lab of this checkout")

    keep = command("keep", _keep, "what --owner starts: wait for a process, then take the lab down")
    keep.add_argument("pid", type=int)
    keep.add_argument("began", type=int)

    command("hosts", _hosts, "list the hosts")
    execute = command("exec", _exec, "run a program in a host, past SSH")
    execute.add_argument("host")
    execute.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    cut = command("cut", lambda lab, o: lab.cut(o.host), "cut a host's power")
    cut.add_argument("host")
    boot = command("boot", lambda lab, o: lab.boot(o.host), "turn a host on again")
    boot.add_argument("host")

    host = command("host", None, "add or remove one host of any kind")
    actions = host.add_subparsers(metavar="ACTION", required=True)
    add = actions.add_parser("add", help="add a host to the running lab")
    add.add_argument("name")
    _add_kind(add)
    add.set_defaults(run=_add)
    remove = actions.add_parser("remove", help="remove a host with all that it wrote")
    remove.add_argument("name")
    remove.set_defaults(run=lambda lab, o: lab.remove(o.name))

    image = command(
        "image", lambda lab, o: lab.image(o.name, o.tarball), "put an image into the registry"
    )
    image.add_argument("name", metavar="NAME:TAG")
    image.add_argument("tarball", type=Path, help="from docker save, or an OCI layout")

    submit = command("submit", _submit, "queue a build")
    submit.add_argument("pipeline", type=Path)
    submit.add_argument("--repo", type=Path, metavar="DIR", help="commit this directory first")
    submit.add_argument(
        "--wait", action="store_true", help="until it ended; 0 only if it succeeded"
    )
    submit.add_argument("--timeout", type=float, default=1800, metavar="SECONDS")

    server = command("server", _server, "call the Drone server's lab API")
    server.add_argument("method", choices=["GET", "POST", "PUT", "PATCH", "DELETE"])
    server.add_argument("path")
    server.add_argument("body", nargs="?", help="JSON")
    prune = command("prune", _prune, "remove from the cache what nothing needs any more")
    prune.add_argument("--all", action="store_true", help="everything")
    return parser


def _add_kind(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bare", action="store_true", help="without Docker's packages")
    parser.add_argument("--systemd", action="store_true", help="with systemd as its init")
    parser.add_argument("--disk", metavar="SIZE", help="an ext4 disk of this size at /data")
    parser.add_argument("--memory", metavar="SIZE", help="no more memory than this")
