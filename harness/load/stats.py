"""Locust's own statistics, kept true without an event per frame: one `StatsEntry.extend` a second.

Locust's percentiles are rounded to two digits above 100 ms; they are for its web UI and CSV. No verdict is taken from them.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from locust.stats import RequestStats, StatsEntry

from harness.load.evidence import Deliveries, Latency

__all__ = ["feed"]

_METHOD = "WS"


def feed(stats: RequestStats, deliveries: Deliveries) -> None:
    """Add a second's deliveries to Locust's entries and total. Messages without a latency count with none."""
    now = time.time()
    total = sum(deliveries.counts.values())
    size = deliveries.bytes / total if total else 0.0
    for name, count in deliveries.counts.items():
        entry = _entry(stats, name, deliveries.latency.get(name), count, round(size * count), now)
        stats.get(name, _METHOD).extend(entry)
        stats.total.extend(entry)


def _entry(stats: RequestStats, name: str, latency: Latency | None, count: int, size: int, now: float) -> StatsEntry:
    entry = StatsEntry(stats, name, _METHOD, use_response_times_cache=False)
    entry.start_time = entry.last_request_timestamp = now
    entry.num_requests = count
    entry.num_none_requests = count - (latency.histogram.count if latency is not None else 0)
    entry.total_content_length = size
    entry.num_reqs_per_sec = {int(now): count}
    if latency is not None and latency.histogram.count:
        us, numbers = latency.histogram.cells()
        values, place = np.unique(_rounded(us / 1e3), return_inverse=True)
        entry.response_times = dict(zip(values.tolist(), np.bincount(place, numbers).astype(int).tolist(), strict=True))
        entry.total_response_time = latency.total
        entry.min_response_time, entry.max_response_time = latency.least, latency.most
    return entry


def _rounded(ms: Any) -> Any:
    """Milliseconds as Locust groups them: whole below 100, tens below 1000, hundreds below 10,000, thousands above."""
    step = np.select([ms < 100, ms < 1000, ms < 10_000], [1, 10, 100], 1000)
    return np.rint(ms / step).astype(np.int64) * step
