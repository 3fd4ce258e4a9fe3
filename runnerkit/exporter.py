"""Metrics over HTTP: whoever scrapes has the hosts looked at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

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


def serve(fleet: Fleet, address: tuple[str, int], on_ready: Callable[[str], None]) -> None:
    """Answer scrapes until Ctrl-C. Raises RunnerkitError when the address cannot be used."""
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
    shown = f"[{host}]" if ":" in host else host
    on_ready(f"http://{shown}:{server.server_port}/metrics")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
