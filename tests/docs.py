"""Writes what is generated from the code: the schema, README's table, the picture of the screen.

`python -m tests.docs` writes; tests/unit/test_docs.py fails when a file differs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from runnerkit.config.effective import ConfigFile, HostConfig, effective
from runnerkit.config.schema import configuration_table, json_schema
from runnerkit.desired.shipped import shipped_files
from runnerkit.desired.state import DesiredState, build
from runnerkit.desired.traits import HostTraits
from runnerkit.errors import UnreachableError
from runnerkit.facts.host import Disk, ServerFacts, traits_of
from runnerkit.health.judge import CHECKS, judge
from runnerkit.health.model import HealthReport, check_id, meaning, unreachable
from runnerkit.pipeline.lint import IGNORE_RULE
from runnerkit.pipeline.rule import all_rules
from runnerkit.report.status import status_svg
from runnerkit.secret import Secret
from tests.bench.rows import readme_table
from tests.other_roads import other_roads
from tests.unit.builders import NOW, SECRET, converged, with_docker

ROOT = Path(__file__).parent.parent

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


def screen() -> tuple[HealthReport, ...]:
    """Three hosts as a person may find them: one well, one with two troubles, one gone."""
    shared = {"server": "https://drone.example.com", "secret": "env:DRONE_RPC_SECRET"}
    entries = {name: {"ssh": f"root@{name}.lan"} for name in ("forge", "attic", "cellar")}
    forge, attic, cellar = effective(ConfigFile.model_validate(shared | {"hosts": entries})).hosts

    def desired(host: HostConfig) -> DesiredState:
        return build(host, SECRET, traits_of(with_docker()), shipped_files())

    well, facts = desired(forge), converged(desired(attic))
    disk = Disk("/var/lib/runnerkit", "ext4", 100 << 30, 2 << 30, 6_500_000, 5_900_000)
    refused = replace(
        facts,
        system=replace(facts.system, data_disk=disk),
        server=ServerFacts(401, asked=facts.asked, clock=NOW),
    )
    gone = UnreachableError(
        "cellar (cellar.lan:22): no route to the host",
        hint="check this machine's network, VPN and routes",
    )
    return (
        judge(well, converged(well)),
        judge(desired(attic), refused),
        unreachable(cellar.name, gone.message, gone.hint),
    )


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
        "measured": readme_table((ROOT / "tests/bench/results.json").read_text(encoding="utf-8")),
    }
    for name, table in tables.items():
        readme = with_section(readme, name, table.strip())
    schema = json.dumps(json_schema(), indent=2, sort_keys=True) + "\n"
    return (
        {
            ROOT / "runnerkit/runnerkit.schema.json": schema,
            ROOT / "README.md": readme,
            ROOT / "tests/golden/status.svg": status_svg(screen()),
        }
        | {
            ROOT / "tests/golden/stack" / name: text
            for name, text in rendered_stack().items()
            if name not in ("compose.yml", "janitor.sh")  # shipped as they are
        }
        | other_roads(ROOT)
    )


def main() -> None:
    """Write them all."""
    for path, content in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
