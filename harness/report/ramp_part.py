"""The section of ramp: memory over cycles of connections, what is left behind, and the pace of the handshakes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.analysis.connections import open_over_time
from harness.report.figures.ramp import ramp_memory, ramp_time

if TYPE_CHECKING:
    from harness.analysis.summary import Assessment
    from harness.report.figures import Times

__all__ = ["ramp_part"]


def ramp_part(assessment: Assessment, times: Times) -> Mapping[str, object]:
    """What ramp.html.j2 shows."""
    run, study = assessment.run, assessment.summary.study
    return {"over_time": ramp_time(study, open_over_time(run), run.target, times), "left": ramp_memory(study)}
