"""Writes what is generated from the code: the schema, README's table, the picture of the screen.

`python -m tests.docs` writes; tests/unit/test_docs.py fails when a file differs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from runnerkit.config.effective import ConfigFile, effective
from runnerkit.config.schema import configuration_table, json_schema
from runnerkit.desired.shipped import shipped_files
from runnerkit.desired.state import build
from runnerkit.desired.traits import HostTraits
from runnerkit.health.judge import CHECKS
from runnerkit.health.model import Check, Group, HealthReport, Status, check_id, meaning
from runnerkit.pipeline.lint import IGNORE_RULE
from runnerkit.pipeline.rule import all_rules
from runnerkit.report.status import status_svg
from runnerkit.secret import Secret

ROOT = Path(__file__).parent.parent

SCREEN = (
    HealthReport(
        "forge",
        (
            Check("reachable", Group.HOST, Status.OK, "logged in; Debian GNU/Linux 13 (trixie)"),
            Check("engine", Group.ENGINE, Status.OK, "Docker 26.1.5"),
            Check("dind", Group.DIND, Status.OK, "running docker:28-dind"),
            Check("dind-api", Group.DIND, Status.OK, "Docker 28.5.2 answers"),
            Check("runner", Group.RUNNER, Status.OK, "running drone/drone-runner-docker:1.8.4"),
            Check("polling", Group.RUNNER, Status.OK, "asks the server for work"),
            Check("server", Group.SERVER, Status.OK, "reached; it accepts the secret"),
            Check("drift", Group.HOST, Status.OK, "as configured"),
        ),
    ),
    HealthReport(
        "attic",
        (
            Check("reachable", Group.HOST, Status.OK, "logged in; Ubuntu 24.04 LTS"),
            Check("engine", Group.ENGINE, Status.OK, "Docker 28.2.2"),
            Check("dind", Group.DIND, Status.OK, "running docker:28-dind"),
            Check("dind-api", Group.DIND, Status.OK, "Docker 28.5.2 answers"),
            Check("runner", Group.RUNNER, Status.OK, "running drone/drone-runner-docker:1.8.4"),
            Check("polling", Group.RUNNER, Status.OK, "no complaint in its log"),
            Check(
                "server",
                Group.SERVER,
                Status.FAIL,
                "does not accept the secret",
                "HTTP 401",
                "compare the source of `secret:` with the server's DRONE_RPC_SECRET",
            ),
            Check("drift", Group.HOST, Status.OK, "as configured"),
        ),
    ),
)


STACK = {
    "server": "https://drone.example.com",
    "secret": "env:DRONE_RPC_SECRET",
    "hosts": {
        "forge": {
            "ssh": "root@forge.lan",
            "runner": {"capacity": 4, "labels": {"disk": "fast"}},
            "docker": {"memory": "8GB", "mirrors": ["http://mirror.lan:5000"]},
            "cache": {"max": "40GB", "min_free": "10%"},
        }
    },
}


def rendered_stack() -> Mapping[str, str]:
    """The files of a known configuration on a known host."""
    [host] = effective(ConfigFile.model_validate(STACK)).hosts
    traits = HostTraits(mtu=1450, data_disk_bytes=200 << 30, nameservers=("192.168.1.1",))
    desired = build(host, Secret("p$A\"ss'wo#rd =x"), traits, shipped_files())
    return {file.name: file.content.decode() for file in desired.files}


def checks_table() -> str:
    """Every check of `status` with what it means."""
    lines = ["| Group | Check | What ok means |", "|---|---|---|"]
    for group, checks in CHECKS.items():
        lines += [f"| {group} | `{check_id(check)}` | {meaning(check)} |" for check in checks]
    return "\n".join(lines)


def with_section(text: str, name: str, content: str) -> str:
    """`text` with `content` between its two comments of that name."""
    marked = f"<!-- {name} -->\n{content}\n<!-- /{name} -->"
    pattern = rf"<!-- {name} -->.*?<!-- /{name} -->"
    return re.sub(pattern, lambda _: marked, text, flags=re.DOTALL)


def rules_table() -> str:
    """Every rule of `pipeline lint`, from its docstring."""
    rules = sorted((*all_rules(), IGNORE_RULE), key=lambda rule: rule.id)
    rows = [f"| `{rule.id}` | {rule.severity.value} | {rule.title} |" for rule in rules]
    return "\n".join(["| Rule | Severity | Finds |", "|---|---|---|", *rows])


def generated() -> Mapping[Path, str]:
    """Every generated file with the content it should have."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tables = {
        "configuration": configuration_table(),
        "checks": checks_table(),
        "rules": rules_table(),
    }
    for name, table in tables.items():
        readme = with_section(readme, name, table.strip())
    schema = json.dumps(json_schema(), indent=2, sort_keys=True) + "\n"
    return {
        ROOT / "runnerkit/runnerkit.schema.json": schema,
        ROOT / "README.md": readme,
        ROOT / "tests/golden/status.svg": status_svg(SCREEN),
    } | {
        ROOT / "tests/golden/stack" / name: text
        for name, text in rendered_stack().items()
        if name not in ("compose.yml", "janitor.sh")  # shipped as they are
    }


def main() -> None:
    """Write them all."""
    for path, content in generated().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
