"""The page that a Prometheus server scrapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from drupelet_host.metrics.collector import FleetCollector, FleetSource
from drupelet_shared.labels import Label


@contextmanager
def serving_metrics(source: FleetSource, *, host: str, port: int, labels: Iterable[Label] = ()) -> Iterator[int]:
    """Serve the series of a fleet while the block runs.

    Args:
        source: The fleet.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        labels: The labels that a device must have to be exported.

    Yields:
        The port.

    Raises:
        OSError: The port is in use, or the address is not of this machine.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FleetCollector(source, labels=labels))
    server, thread = start_http_server(port, addr=host, registry=registry)
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
