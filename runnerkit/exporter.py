"""Metrics over HTTP: whoever scrapes has the hosts looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import start_wsgi_server
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from runnerkit.errors import RunnerkitError
from runnerkit.report.metrics import families
from runnerkit.watching import Fleet


class _OnScrape(Collector):
    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def describe(self) -> list[Metric]:
        """Nothing, so that registering does not look at the hosts."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Look now; scrapes at the same time share one look."""
        yield from families(self._fleet.look())


@contextmanager
def serving(fleet: Fleet, address: tuple[str, int]) -> Iterator[str]:
    """Answer scrapes for as long as the block runs; gives the URL.

    Raises RunnerkitError when the address cannot be used.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_OnScrape(fleet))
    host, port = address
    try:
        server, thread = start_wsgi_server(port, host, registry)
    except OSError as error:
        raise RunnerkitError(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            hint="name an address of this machine and a port that is free",
        ) from None
    try:
        yield f"http://{f'[{host}]' if ':' in host else host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
