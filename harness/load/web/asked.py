"""Thresholds of one's own as they stand in mid-run, beside the contract's benchmarks or in their place.

A figure that only the whole run has is left to the report. A line that asks for more than was seen so far is open, not missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from harness.errors import UsageError
from harness.load.web.standing import Standing, State, Totals
from harness.measure.histogram import Histogram
from harness.thresholds import Metric, Threshold, Thresholds
from harness.words import percent

__all__ = ["asked", "beside", "figures"]

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
_COUNTS = ("expected", "delivered", "lost", "duplicated", "reordered", "misdirected")
_GROWING = frozenset({">", ">=", "=="})  # what is too little now may still be enough at the end


def figures(totals: Totals) -> Mapping[str, Metric]:
    """Those figures of a run that can be told while it goes on, by the names that its report has for them."""
    found = {f"latency.{name}": _quantile(totals.latency, share) for name, share in _QUANTILES.items()}
    found |= {f"delivery.{name}": Metric(getattr(totals, name), "count", totals.expected) for name in _COUNTS}
    ratio = totals.delivered / totals.expected if totals.expected else None
    held = sum(totals.open.values())
    return {
        **found,
        "latency.n": Metric(totals.latency.count, "count", totals.latency.count),
        "delivery.ratio": Metric(ratio, "ratio", totals.expected),
        "frames.total": Metric(totals.frames, "count", totals.frames),
        "frames.invalid": Metric(totals.invalid, "count", totals.frames),
        "frames.unmatched": Metric(totals.unmatched, "count", totals.frames),
        "connections.held": Metric(held, "count", held),
        "connections.refused": Metric(totals.refused, "count", held + totals.refused),
    }


def asked(thresholds: Thresholds, known: Mapping[str, Metric]) -> tuple[Standing, ...]:
    """Each line of the file."""
    return tuple(_stands(place, line, known.get(line.metric)) for place, line in enumerate(thresholds.lines, 1))


def beside(thresholds: Thresholds, contract: Iterable[Standing]) -> Iterable[Standing]:
    """The contract's benchmarks: as they are, or not judged where only the lines judge."""
    return contract if thresholds.contract else (replace(each, state="aside") for each in contract)


def _stands(place: int, line: Threshold, metric: Metric | None) -> Standing:
    name, limit = f"threshold_{place}", f"{line.sign} {line.number:g} {line.suffix}".rstrip()
    if metric is None:
        return Standing(name, line.metric, "–", limit, "", 0, "told")
    if metric.value is None or not metric.samples:
        return Standing(name, line.metric, "nothing yet", limit, "", 0, "open")
    try:
        holds, bound = line.holds(metric.value, metric.unit), line.limit(metric.unit)
    except UsageError:  # of another unit: the report refuses it, with what is allowed
        return Standing(name, line.metric, _said(metric), limit, "", metric.samples, "told")
    state: State = "within" if holds else "open" if line.sign in _GROWING and metric.value <= bound else "outside"
    return Standing(name, line.metric, _said(metric), limit, "", metric.samples, state)


def _quantile(latency: Histogram, share: float) -> Metric:
    found = latency.quantile(share)
    return Metric(None if found is None else found / 1e6, "s", latency.count)


def _said(metric: Metric) -> str:
    if metric.value is None:
        return "–"
    return {"s": f"{metric.value * 1e3:,.1f} ms", "ratio": percent(metric.value)}.get(metric.unit, f"{metric.value:,g}")
