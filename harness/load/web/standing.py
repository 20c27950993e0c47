"""The contract's benchmarks as they stand in mid-run: measured so far, limit, room left.

Not a verdict: a run is judged from its journal, when it is over and known to be valid. What cannot be seen yet stands open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.measure.histogram import Histogram
from harness.words import percent
from schemas import Contract

__all__ = ["Standing", "State", "Totals", "standings"]

State = Literal["within", "outside", "open", "told", "aside"]
"""Of what was seen so far: within the limit, outside of it, nothing seen to say, seen and left for the report to judge, or not judged in
this run."""


@dataclass(slots=True)
class Totals:
    """Sums over the whole run. `latency` is of the steady phase, which is (from, until) in seconds since the epoch."""

    latency: Histogram = field(default_factory=Histogram)
    open: dict[int, int] = field(default_factory=dict)
    frames: int = 0
    refused: int = 0
    closes: int = 0
    invalid: int = 0
    unmatched: int = 0
    expected: int = 0
    delivered: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    misdirected: int = 0
    steady: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """One line of the table, in words that need no key."""

    id: str
    name: str
    measured: str
    limit: str
    margin: str
    samples: int
    state: State


def standings(totals: Totals, contract: Contract, header: Mapping[str, Any]) -> tuple[Standing, ...]:
    """The benchmarks that the run's header says it is judged by, as far as they can be seen while it runs."""
    judged = header.get("judged")
    lines = (make(totals, contract, header) for name, make in _LINES.items() if judged is None or name in judged)
    return tuple(lines)


def _latency(totals: Totals, contract: Contract, _header: Mapping[str, Any]) -> Standing:
    limit, found = contract.benchmark.latency, totals.latency.quantile(0.99)
    seconds = None if found is None else found / 1e6
    return Standing(
        id="latency",
        name="Vote to broadcast, p99",
        measured="nothing yet" if seconds is None else f"{seconds * 1e3:,.1f} ms",
        limit=f"< {limit:g} s",
        margin="" if seconds is None else f"{(limit - seconds) / limit:+.0%}",
        samples=totals.latency.count,
        state="open" if seconds is None else "within" if seconds < limit else "outside",
    )


def _connections(totals: Totals, contract: Contract, header: Mapping[str, Any]) -> Standing:
    asked = int(header.get("parameters", {}).get("viewers", contract.limits.connections))
    held, refused = sum(totals.open.values()), totals.refused
    state: State = "open" if held < asked else "within"
    return Standing(
        id="connections",
        name="Connections open",
        measured=f"{held:,}" + (f", {refused:,} refused" if refused else ""),
        limit=f"{asked:,}",
        margin="",
        samples=held,
        state="outside" if refused else state,
    )


def _delivery(totals: Totals, _contract: Contract, _header: Mapping[str, Any]) -> Standing:
    owed = totals.expected
    return Standing(
        id="delivery",
        name="Deliveries made of those owed",
        measured="nothing yet" if not owed else percent(totals.delivered / owed) + (f", {totals.lost:,} lost" if totals.lost else ""),
        limit="100 %",
        margin="",
        samples=owed,
        state="open" if not owed else "outside" if totals.lost else "within",
    )


def _none(name: str, title: str, found: str, of: str) -> Callable[[Totals, Contract, Mapping[str, Any]], Standing]:
    def make(totals: Totals, _contract: Contract, _header: Mapping[str, Any]) -> Standing:
        count, samples = int(getattr(totals, found)), int(getattr(totals, of))
        state: State = "outside" if count else "within" if samples else "open"
        return Standing(name, title, f"{count:,}", "0", "", samples, state)

    return make


_LINES: Mapping[str, Callable[[Totals, Contract, Mapping[str, Any]], Standing]] = {
    "latency": _latency,
    "connections": _connections,
    "delivery": _delivery,
    "misdirected": _none("misdirected", "Deliveries to whom they were not meant for", "misdirected", "expected"),
    "duplicated": _none("duplicated", "Deliveries made twice", "duplicated", "expected"),
    "reordered": _none("reordered", "Deliveries out of order", "reordered", "expected"),
    "invalid_frames": _none("invalid_frames", "Frames that break the schema", "invalid", "frames"),
    "closes": _none("closes", "Connections closed by the target", "closes", "frames"),
    "unmatched": _none("unmatched", "Broadcasts without a vote", "unmatched", "frames"),
}
