"""`make demo`: a bare machine, two commands, and a pipeline that runs what it has just built."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
LAB = {"RUNNERKIT_LAB": "demo"}
PIPELINE = ROOT / "tests/e2e/pipelines/build-and-run.yml"
PROJECT = ROOT / "tests/e2e/projects/greet"
BEGAN = time.monotonic()


def say(text: str) -> None:
    """Narrate, with the seconds since the beginning."""
    sys.stderr.write(f"\n[{time.monotonic() - BEGAN:5.1f} s] {text}\n")


def run(argv: list[str], env: dict[str, str], *, capture: bool = False) -> tuple[int, str]:
    """Run a program as a person would, its command line shown."""
    shown = " ".join(argv).replace(f"{sys.executable} -m ", "")
    sys.stderr.write(f"$ {shown}\n")
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env=os.environ | LAB | env,
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout or ""


def main() -> int:
    """Run the whole story; 0 only if the pipeline succeeded and the host is healthy."""
    lab = [sys.executable, "-m", "tests.lab"]
    kit = [sys.executable, "-m", "runnerkit"]
    with tempfile.TemporaryDirectory(prefix="runnerkit-demo-") as folder:
        config = Path(folder) / "runnerkit.yml"
        env = {"RUNNERKIT_CONFIG": str(config)}
        try:
            say("a machine with Docker, reachable over SSH, and a Drone server")
            code, answer = run([*lab, "up", "--owner", str(os.getpid())], env, capture=True)
            if code:
                return code
            info = json.loads(answer)
            say("the configuration: where to log in, which server")
            write_config(kit, env, config, info)
            steps = [
                ("what would change", [*kit, "plan"]),
                ("change it", [*kit, "up", "--yes"]),
                ("a pipeline builds an image in one step and runs it in the next", None),
                ("is all well?", [*kit, "status"]),
            ]
            for text, argv in steps:
                say(text)
                code = run(argv, env)[0] if argv else pipeline(lab, env)
                if code:
                    return code
        finally:
            say("clean up")
            run([*lab, "down"], env, capture=True)
    say("done: pipeline green, host healthy")
    return 0


def write_config(kit: list[str], env: dict[str, str], config: Path, info: dict[str, Any]) -> None:
    """`runnerkit init`, then what only the lab needs: its key, its registry, its secret."""
    server, [host, *_] = info["server"], info["hosts"]
    secret = config.parent / "rpc-secret"
    secret.touch(0o600)
    secret.write_text(str(server["secret"]))
    target = f"{host['user']}@{host['address']}"
    argv = ["init", target, "--server", str(server["url"]), "--secret", f"file:{secret}"]
    run([*kit, *argv, "--name", "forge"], env)
    content = yaml.safe_load(config.read_text())
    content["hosts"]["forge"] |= {"identity": host["key"], "known_hosts": host["known_hosts"]}
    content.setdefault("defaults", {}).setdefault("docker", {})["mirrors"] = [info["registry"]]
    config.write_text(yaml.safe_dump(content))


def pipeline(lab: list[str], env: dict[str, str]) -> int:
    """Run the pipeline and show what its steps said."""
    argv = [*lab, "submit", str(PIPELINE), "--repo", str(PROJECT), "--wait"]
    code, answer = run(argv, env, capture=True)
    for stage in json.loads(answer or '{"stages": []}')["stages"]:
        for step in stage["steps"]:
            sys.stderr.write(f"  {step['name']}: {step['status']}\n")
            for line in (step["log"] or [])[-6:]:
                sys.stderr.write(f"    {line['out'].rstrip()}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
