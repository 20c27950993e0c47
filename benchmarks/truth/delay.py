"""The truth of time: a server that takes D ms from each vote to its broadcast, and that once, for a known while, sends nothing at all.

D has to show in the headline and in the contract's own metric, each to within what the report states of its own lateness and of the
votes' answers; the stall has to show as the longest wait, as a silence of that length at that time, and in its second of the timeline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.truth.deliveries import latencies
from benchmarks.truth.lines import Line, Part, within
from benchmarks.truth.place import Setting, run_casting
from harness.analysis.heat import latency_grid
from harness.analysis.run import Run
from harness.analysis.summary import Assessment, assess

__all__ = ["Delay", "compare_delay", "delay", "run_delay"]

_STAMP = 0.001  # seconds: the resolution of a message's own timestamp
_SHARE = 0.01  # of a latency: the histograms' three digits, and one more for the kernel between write and arrival
_ABSOLUTE = 0.005  # seconds, of a moment: a writer may be set aside between looking at the clock and writing
_TIMELINE = 1.5  # seconds: the timeline has one point a second, and a record may end half a one late


@dataclass(frozen=True, slots=True)
class Delay:
    """What is injected: seconds from vote to broadcast; begin (from the first vote) and length of the stall."""

    each: float
    begin: float
    length: float


def delay(folder: Path, *, tls: bool, processes: int) -> Part:
    """The part as the benchmark runs it."""
    setting = Setting(100, 50.0, 7.0, 1.0, 100, 20, 6.0, processes, tls)
    told = Delay(0.15, 4.0, 1.5)
    assessment, truth = run_delay(folder, setting, told)
    return compare_delay(assessment, truth, setting, told, busy=0.0)


def run_delay(folder: Path, setting: Setting, told: Delay) -> tuple[Assessment, dict[str, Any]]:
    """Do the run in `folder`: what the analysis makes of it, and what really happened."""
    place, truth = run_casting(folder, setting, replace(setting.order, delay=told.each, stall=(told.begin, told.length)))
    return assess(place), truth


def compare_delay(assessment: Assessment, truth: Mapping[str, Any], setting: Setting, told: Delay, *, busy: float) -> Part:
    """What was injected beside what the run says. busy: seconds by which a busy machine may move any of it."""
    run, summary = assessment.run, assessment.summary
    latency, slip = summary.latency, summary.health.slip
    late = np.array([(min(each["moments"]) - each["meant"]) / 1e9 for each in truth["broadcasts"] if each["moments"]])
    # What the report itself says may lie between the vote's due time and the server's hearing of it, and what the server owns up to.
    way = (latency.api.p90 or 0.0) + float(np.quantile(late, 0.9)) + busy
    fan = latency.spread.p50 or 0.0
    lines = [
        within("delay: vote to broadcast p50, ms", told.each * 1e3, _ms(latency.headline.p50),
               (way + fan + (slip.p99 or 0.0) + _STAMP) * 1e3),
        within("delay: the contract's own metric p50, ms", told.each * 1e3, _ms(latency.stamped.p50), (way + _STAMP) * 1e3),
        *_stall(run, truth, setting, told, latency.headline.max, busy),
    ]  # fmt: skip
    return Part(tuple(lines), invalid=tuple(reason.code for reason in summary.reasons))


def _stall(run: Run, truth: Mapping[str, Any], setting: Setting, told: Delay, longest: float | None, busy: float) -> list[Line]:
    """The stall as the server wrote it down, and as the run shows it."""
    real = float(latencies(run, setting.plan, truth).max())
    writes = np.sort([min(each["moments"]) / 1e9 for each in truth["broadcasts"] if each["moments"]])
    arrivals = np.sort(run.broadcasts["first"].dropna().to_numpy(dtype=float))
    epoch = run.phases.epoch or 0.0
    (begin, length), (seen_begin, seen_length) = _silence(writes), _silence(arrivals)
    grid = latency_grid(run)
    worst = None if grid is None else float(grid.lines.sort_values("max")["at"].iloc[-1])
    return [
        Line("stall: as long as was told, s", told.length, length, None, told.length - _ABSOLUTE <= length),
        within("stall: longest vote to broadcast, ms", real * 1e3, _ms(longest), (max(_ABSOLUTE, _SHARE * real) + busy) * 1e3),
        within("stall: silence, ms", length * 1e3, seen_length * 1e3, (_ABSOLUTE + busy) * 1e3),
        within("stall: its begin, s", begin - epoch, seen_begin - epoch, _ABSOLUTE + busy),
        within("stall: its end in the timeline, s", begin + length - epoch, worst, _TIMELINE),
    ]


def _silence(moments: np.ndarray) -> tuple[float, float]:
    """The longest gap: when it began, and how long it was."""
    gaps = np.diff(moments)
    at = int(gaps.argmax())
    return float(moments[at]), float(gaps[at])


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3
