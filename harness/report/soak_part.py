"""The section of soak: what drifts, and where it would be after an hour and a day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness import words

if TYPE_CHECKING:
    from harness.analysis.summary import Assessment
    from harness.report.figures import Times

__all__ = ["soak_part"]


def soak_part(assessment: Assessment, _: Times) -> Mapping[str, object]:
    """What soak.html.j2 shows."""
    study = assessment.summary.study
    drifts = [
        ("Latency, 50 %", study.p50, words.time),
        ("Latency, 99 % of each second", study.p99, words.time),
        ("Resident memory", study.memory, words.size),
        ("Descriptors", study.descriptors, words.count),
    ]
    return {"drifts": drifts}
