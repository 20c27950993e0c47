"""The section of overload: frames against the cap, waiting, memory, and what viewers were left with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.analysis.overload import frames_by_second
from harness.analysis.slow import latency_by_second
from harness.report.figures.overload import overload

if TYPE_CHECKING:
    from harness.analysis.summary import Assessment
    from harness.report.figures import Times

__all__ = ["overload_part"]


def overload_part(assessment: Assessment, times: Times) -> Mapping[str, object]:
    """What overload.html.j2 shows."""
    run, study = assessment.run, assessment.summary.study
    drawing = overload(study, frames_by_second(run), latency_by_second(run), run.target, run.parameters.rate, times)
    return {"drawing": drawing}
