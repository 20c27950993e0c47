"""The /metrics page: plain numbers that the server keeps anyway, read only when somebody asks.

Nothing on the hot path touches the Prometheus library: the hub and the routes add to integers, and a collector turns
them into samples at scrape time.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

__all__ = ["Metrics"]

_NAMESPACE = "roadmap"


class Metrics(Collector):
    """Counts of HTTP answers and votes, and the page that shows them with those of the hub and the process.

    `requests` is keyed by (method, route, status), `votes` by action.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.votes: Counter[str] = Counter()
        self._connections: Callable[[], int] = int
        self._hub_counters: object = None
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def watch(self, connections: Callable[[], int], counters: object) -> None:
        """Show a hub: its open connections, and its `counters`, a dataclass of numbers or of mappings to int."""
        self._connections = connections
        self._hub_counters = counters

    def page(self) -> tuple[bytes, str]:
        """The page in Prometheus' text format and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def collect(self) -> Iterable[Metric]:
        """One pass over all numbers, called by the registry."""
        yield GaugeMetricFamily(f"{_NAMESPACE}_connections", "Open sockets", value=self._connections())
        requests = CounterMetricFamily(f"{_NAMESPACE}_http_requests", "HTTP answers", labels=("method", "route", "status"))
        for (method, route, status), count in self.requests.items():
            requests.add_metric((method, route, str(status)), count)
        yield requests
        yield _by_label("http_votes", "action", self.votes)
        if dataclasses.is_dataclass(self._hub_counters):
            for field in dataclasses.fields(self._hub_counters):
                yield _hub_metric(field.name, getattr(self._hub_counters, field.name))


def _help(name: str) -> str:
    return name.replace("_", " ").capitalize() + " since the start"


def _by_label(name: str, label: str, counts: Mapping[str, int] | Mapping[int, int]) -> Metric:
    metric = CounterMetricFamily(f"{_NAMESPACE}_{name}", _help(name), labels=(label,))
    for key, count in counts.items():
        metric.add_metric((str(key),), count)
    return metric


def _hub_metric(name: str, value: float | Mapping[str, int] | Mapping[int, int]) -> Metric:
    if isinstance(value, Mapping):
        return _by_label(name, "code" if "close" in name else "type", value)
    metric = CounterMetricFamily(f"{_NAMESPACE}_{name}", _help(name))
    metric.add_metric((), value)
    return metric
