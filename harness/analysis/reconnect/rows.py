"""What the study's benchmarks share: how a row is made, how cells and spans are named, and which cells a target is judged by."""

from __future__ import annotations

from collections.abc import Iterable

from harness.analysis.reconnect.figures import BEHAVED, CellFigures
from harness.verdict import Benchmark, Verdict

__all__ = ["TITLES", "behaved", "cell_name", "row", "span"]

TITLES = {
    "contract": "the formula, done once",
    "jittered": "the formula with full jitter",
    "sample": "the sample class, literally",
}
"""The client models as a reader is told of them."""
_SECTION = "Performance Benchmarks, Reconnection"


def behaved(cells: Iterable[CellFigures]) -> list[CellFigures]:
    """Of the well-behaved models, the cells in which there was a server to come back to."""
    back = [cell for cell in cells if cell.cell.model in BEHAVED and cell.cell.healed is not None]
    # Behind a silent path the server's places may still be held by connections that it has no way to know dead.
    return [cell for cell in back if not (cell.cell.cause == "silent" and cell.outcomes.get("503"))]


def row(
    id_: str,
    title: str,
    limit: float | None,
    measured: float | None,
    unit: str,
    verdict: Verdict,
    samples: int,
    detail: str,
    remedy: str,
    margin: float | None = None,
) -> Benchmark:
    """A benchmark of the contract's reconnection."""
    return Benchmark(id_, title, "PERF-06", _SECTION, limit, measured, unit, margin, verdict, samples, detail, remedy)


def cell_name(figures: CellFigures) -> str:
    """Cause and outage."""
    cell = figures.cell
    return cell.cause if cell.outage is None else f"{cell.cause} for {cell.outage:g} s"


def span(seconds: float) -> str:
    """Seconds or milliseconds."""
    return f"{seconds:.1f} s" if seconds >= 1.0 else f"{seconds * 1e3:.3g} ms"
