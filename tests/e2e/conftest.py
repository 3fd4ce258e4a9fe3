from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.kit import ENGINES, Kit, Lab, lab_name, running_lab

collect_ignore = ["samples"]  # projects with tests of their own


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Three hosts with the registry, the git server and the Drone server; gone afterwards."""
    with running_lab(lab_name(), hosts=3) as lab:
        yield lab


@pytest.fixture(scope="session")
def kit(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """runnerkit with a configuration of three hosts, one for each generation of the engine."""
    content = yaml.safe_load(Path(lab.info["config"]).read_text())
    for name, image in ENGINES.items():
        content["hosts"][name]["docker"] = {"image": image}
    config = tmp_path_factory.mktemp("config") / "runnerkit.yml"
    config.write_text(yaml.safe_dump(content))
    return Kit(config)


@pytest.fixture(scope="module")
def fleet(kit: Kit, lab: Lab) -> Kit:
    """The three hosts, provisioned and idle, whatever another file of tests left of them."""
    lab.cancel_builds()
    kit("up", "--yes")
    return kit
