"""The section of capacity: the knee, and what each step showed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.report.figures.capacity import capacity

if TYPE_CHECKING:
    from harness.analysis.summary import Assessment
    from harness.report.figures import Times

__all__ = ["capacity_part"]


def capacity_part(assessment: Assessment, _: Times) -> Mapping[str, object]:
    """What capacity.html.j2 shows."""
    return {"drawing": capacity(assessment.summary.study)}
