"""The metrics page shows each number once, under a stable name, with what was counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from server_under_test.counters import Counters
from server_under_test.metrics import Metrics


@dataclass
class Numbers:
    plain: int = 3
    closed: dict[int, int] = field(default_factory=lambda: {1001: 2, 4401: 1})
    broadcasts: dict[str, int] = field(default_factory=lambda: {"VOTE_UPDATE": 5})


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    body, content_type = metrics.page()
    assert content_type.startswith("text/plain")
    found = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def test_counts_come_out_as_they_went_in() -> None:
    metrics = Metrics()
    metrics.watch(lambda: 7, Numbers())
    metrics.requests["POST", "/vote", 200] += 2
    metrics.votes["add"] += 4
    found = samples(metrics)
    assert found["roadmap_connections", ()] == 7
    assert found["roadmap_http_requests_total", (("method", "POST"), ("route", "/vote"), ("status", "200"))] == 2
    assert found["roadmap_http_votes_total", (("action", "add"),)] == 4
    assert found["roadmap_plain_total", ()] == 3
    assert found["roadmap_closed_total", (("code", "4401"),)] == 1
    assert found["roadmap_broadcasts_total", (("type", "VOTE_UPDATE"),)] == 5
    assert found["process_resident_memory_bytes", ()] > 1e6
    assert found["process_cpu_seconds_total", ()] > 0
    assert found["process_open_fds", ()] > 0


def test_no_family_appears_twice_beside_the_hubs_own() -> None:
    metrics = Metrics()
    metrics.watch(int, Counters())
    body, _ = metrics.page()
    types = Counter(line.split()[2] for line in body.decode().splitlines() if line.startswith("# TYPE"))
    assert set(types.values()) == {1}
    assert "roadmap_slow_readers_cut_total" in types
