"""The section of mixed: the day on the axis of time, each message type by itself, and what reached those who were owed nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.analysis.connections import open_over_time
from harness.analysis.mixed import deeds_by_second, steps_by_second
from harness.report.figures.mixed import day
from schemas import load_contract

if TYPE_CHECKING:
    from harness.analysis.summary import Assessment
    from harness.report.figures import Times

__all__ = ["mixed_part"]


def mixed_part(assessment: Assessment, times: Times) -> Mapping[str, object]:
    """What mixed.html.j2 shows."""
    run, study = assessment.run, assessment.summary.study
    steps, deeds = steps_by_second(run, times.origin), deeds_by_second(run, times.origin)
    aside = study.aside
    return {
        "grace": load_contract().benchmark.latency,
        "drawing": day(study, steps, deeds, open_over_time(run), times),
        "asides": [
            ("a vote, to the session that cast it", aside.own, aside.own_of),
            ("a created or deleted feature, to users who are no administrators", aside.role, aside.role_of),
            ("another feature than the one in view", aside.other, aside.other_of),
        ],
    }
