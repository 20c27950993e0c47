"""Which figures a run will have, by name and unit, before there is a run: what a line of a file of thresholds may speak of.

The analysis fills exactly these, so that a wrong name is refused before the load and not after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["COUNTS", "QUANTILES", "TIMES", "run_figures", "study_figures"]

TIMES = ("latency", "stamped", "spread", "api", "slip", "lag")
"""Families of a time: see docs/measuring.md for what each is."""
QUANTILES = ("p50", "p90", "p99", "p999", "max")
COUNTS: Mapping[str, tuple[str, ...]] = {
    "delivery": ("expected", "delivered", "lost", "duplicated", "reordered", "misdirected"),
    "votes": ("planned", "called", "accepted", "refused", "failed", "unanswered", "distinct", "coalesced", "silent"),
    "frames": ("total", "invalid", "unmatched"),
    "connections": ("asked", "opened", "refused", "peak", "held", "unexpected"),
}
_OTHERS = {
    "delivery.ratio": "ratio",
    "broadcasts.rate": "per second",
    "memory.each": "bytes",
    "memory.low": "bytes",
    "memory.high": "bytes",
    "generator.cpu": "per second",
}
_OF_A_CELL = {
    "back_p50": "s", "back_p95": "s", "back_p100": "s", "wait_p99": "s", "never_back": "count", "leaked": "count", "refused": "count",
    "peak": "per second", "queue": "count",
}  # fmt: skip
_STUDY = ("reconnect_time", "reconnect_stranded", "reconnect_refused", "told_1001", "told_4401", "server_part", "herd", "sample_lost",
          "rule_gave_up", "earliest", "noticed", "doomed")  # fmt: skip


def run_figures(judged: Iterable[str]) -> Mapping[str, str | None]:
    """Units by name, of a run that is judged by these benchmarks: "s", "bytes", "count", "ratio", "per second".

    A benchmark's own figure is benchmark.ID; its unit (None here) is known when it is judged.
    """
    return {
        **{f"{family}.{name}": "s" for family in TIMES for name in QUANTILES},
        **{f"{family}.n": "count" for family in TIMES},
        **{f"{family}.{name}": "count" for family, names in COUNTS.items() for name in names},
        **_OTHERS,
        **{f"benchmark.{name}": None for name in judged},
    }


def study_figures(causes: Iterable[str], models: Iterable[str]) -> Mapping[str, str | None]:
    """The same of a reconnect study over these causes and client models."""
    causes, models = tuple(causes), tuple(models)
    families = (*models, *(f"{cause}_{model}" for cause in causes for model in models))
    return {
        **{f"{family}.{name}": unit for family in families for name, unit in _OF_A_CELL.items()},
        "generator.late_p99": "s",
        **{f"benchmark.{name}": None for name in (*_STUDY, *(f"cause_{cause}" for cause in causes))},
    }
