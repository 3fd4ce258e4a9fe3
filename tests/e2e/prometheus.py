"""A real Prometheus on loopback, which scrapes one exporter every second."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen

from tests.e2e.kit import until


@dataclass(frozen=True)
class Prometheus:
    """Its HTTP API."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an instant query gives now: series with their labels and value."""
        result: list[dict[str, Any]] = self._ask("query", {"query": expression})["result"]
        return result

    def label_values(self, metric: str, label: str) -> list[str]:
        """Grafana's `label_values(metric, label)`."""
        values: list[str] = self._ask(f"label/{label}/values", {"match[]": metric})
        return values

    def _ask(self, what: str, arguments: Mapping[str, str]) -> Any:
        with urlopen(f"{self.url}/api/v1/{what}?{urlencode(arguments)}") as answer:
            return json.load(answer)["data"]

    def is_ready(self) -> bool:
        """Whether it answers queries already."""
        try:
            with urlopen(f"{self.url}/-/ready") as answer:
                return bool(answer.status == 200)
        except URLError:
            return False


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """One that scrapes the exporter at `target`, a URL, for as long as the block runs."""
    parts = urlsplit(target)
    job = {
        "job_name": "runnerkit",
        "metrics_path": parts.path,
        "static_configs": [{"targets": [parts.netloc]}],
    }
    config = folder / "prometheus.yml"
    scraping = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    config.write_text(json.dumps({"global": scraping, "scrape_configs": [job]}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        started = Prometheus(f"http://{address}")
        until(started.is_ready, 60, "Prometheus is ready")
        yield started
    finally:
        process.terminate()
        process.wait(60)
