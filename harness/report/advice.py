"""What the first screen says beside its numbers, for every run that puts load on a target: what not to read into them, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.thresholds import required_of
from harness.verdict import Benchmark, Overall, Verdict

if TYPE_CHECKING:
    from harness.analysis.reconnect.summary import StudySummary
    from harness.analysis.summary import Summary

__all__ = ["caution", "first_step", "troubled"]


def caution(summary: Summary | StudySummary) -> str:
    """What has to be known before any number of an invalid run is read; empty for others."""
    if summary.verdict is not Overall.INVALID:
        return ""
    why = "The run did not go to its end" if summary.cut_short else "The instrument was not fit"
    return f"{why}, so nothing is said about the target: no benchmark is called met or missed."


def troubled(summary: Summary | StudySummary) -> list[Benchmark]:
    """What is missed or warned of, and, where a run is no pass for that alone, the lines of one's own that it could not tell."""
    untold = [b for b in required_of(summary.benchmarks) if summary.verdict is Overall.UNTESTED and b.verdict is Verdict.INCONCLUSIVE]
    return [b for b in summary.benchmarks if b.verdict in (Verdict.FAIL, Verdict.WARN)] + untold


def first_step(summary: Summary | StudySummary) -> str:
    """What to do about the first reason for the verdict; empty where nothing is to be done."""
    if summary.reasons:
        return summary.reasons[0].remedy
    return next((each.remedy for each in troubled(summary) if each.verdict is not Verdict.WARN and each.remedy), "")
