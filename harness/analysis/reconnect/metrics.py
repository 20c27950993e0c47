"""The study's figures by name, for thresholds of one's own: `contract.back_p100 < 20s`, `killed_jittered.never_back == 0`.

A family is a client model, over every cause that leaves a way back, or a cause and a model. Over several cells the worst counts; a share
of the clients that was not back in one of them has no time, and `never_back` tells how many they were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.analysis.metrics import Metric
from harness.analysis.reconnect.figures import CellFigures
from harness.figure_names import study_figures
from harness.verdict import Benchmark

__all__ = ["study_metrics"]


def study_metrics(parameters: Mapping[str, Any], cells: Sequence[CellFigures], benchmarks: Sequence[Benchmark]) -> Mapping[str, Metric]:
    """By name; what the study is judged by is there as benchmark.ID. A figure of a cell that could not be tried is None."""
    asked = study_figures(parameters.get("causes") or (), parameters.get("models") or ())
    families: dict[str, list[CellFigures]] = {}
    for cell in cells:
        families.setdefault(f"{cell.cell.cause}_{cell.cell.model}", []).append(cell)
        if cell.cell.healed is not None:
            families.setdefault(cell.cell.model, []).append(cell)
    found = {f"{family}.{name}": metric for family, mine in families.items() for name, metric in _family(mine).items()}
    late = [cell.late.p99 for cell in cells if cell.late.p99 is not None]
    found["generator.late_p99"] = Metric(max(late, default=None), "s", sum(len(cell.attempts) for cell in cells))
    missing = {name: Metric(None, unit or "", 0) for name, unit in asked.items()}
    return {**missing, **found, **{f"benchmark.{each.id}": Metric(each.measured, each.unit, each.samples) for each in benchmarks}}


def _family(cells: Sequence[CellFigures]) -> dict[str, Metric]:
    clients, dialled = sum(cell.cell.clients for cell in cells), sum(len(cell.attempts) for cell in cells)
    waits = np.concatenate([cell.waits[np.isfinite(cell.waits)] for cell in cells])
    names = ("back_p50", "back_p95", "back_p100")
    back = {name: Metric(_worst([cell.to_back[place] for cell in cells]), "s", clients) for place, name in enumerate(names)}
    return {
        **back,
        "wait_p99": Metric(float(np.quantile(waits, 0.99)) if len(waits) else None, "s", len(waits)),
        "never_back": Metric(max(cell.given_up for cell in cells), "count", clients),
        "leaked": Metric(max(cell.leaked for cell in cells), "count", clients),
        "refused": Metric(max(sum(cell.refusals.values()) for cell in cells), "count", dialled),
        "peak": Metric(max(cell.peak for cell in cells), "per second", dialled),
        "queue": Metric(_worst([cell.queue for cell in cells]), "count", clients),
    }


def _worst(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None
