"""The section of capacity: the two knees, and what each step showed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.report.figures.capacity import by_connections, by_rate

if TYPE_CHECKING:
    from harness.analysis.summary import Assessment
    from harness.report.figures import Times

__all__ = ["capacity_part"]


def capacity_part(assessment: Assessment, _: Times) -> Mapping[str, object]:
    """What capacity.html.j2 shows."""
    study = assessment.summary.study
    return {
        "searches": [
            ("Connections", study.connections, by_connections(study.connections)),
            ("Broadcasts a second", study.rates, by_rate(study.rates)),
        ]
    }
