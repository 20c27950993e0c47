"""The section of slow_readers: what the others noticed, what the server's memory did, and the fate of each that stopped reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.analysis.slow import latency_by_second
from harness.report.figures.slow import slow_readers

if TYPE_CHECKING:
    from harness.analysis.summary import Assessment
    from harness.report.figures import Times

__all__ = ["slow_part"]

_NAMED = 100


def slow_part(assessment: Assessment, times: Times) -> Mapping[str, object]:
    """What slow.html.j2 shows."""
    study = assessment.summary.study
    readers = sorted(study.readers, key=lambda reader: (reader.model, reader.after))
    return {
        "drawing": slow_readers(study, latency_by_second(assessment.run), assessment.run.target, times),
        "readers": readers[:_NAMED],
        "more": max(0, len(readers) - _NAMED),
    }
