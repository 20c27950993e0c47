"""The truth of neglect: a server that cuts nobody off, save those that it is told to at a known number of bytes, under slow_readers.

The silent ones must be reported as never cut off, with the bytes that were due to each and the bytes that the server kept for each; the
answering ones as cut off when the server says it did. Nobody of them votes, for a voter is not sent its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.truth.lines import Line, Part, within
from benchmarks.truth.order import Cut
from benchmarks.truth.place import Setting, run_casting
from harness.analysis.slow import SlowReader, SlowStudy
from harness.analysis.summary import Assessment, assess
from harness.verdict import Verdict

__all__ = ["Neglect", "compare_slow", "run_slow", "slow"]

_LOOK = 0.3  # seconds from one look at the far ends to the next, and a little
_FRAMES = 3  # that are written at the very moment at which a stretch begins or ends
_RECEIVE = 8_192  # bytes: the narrow receive buffer of a slow reader, which neither side counts
_RECORD = 22  # bytes that TLS adds to each frame, which a viewer does not see


@dataclass(frozen=True, slots=True)
class Neglect:
    """One of `every` viewers stops reading after `calm` seconds; the answering ones are cut off past so many bytes. The limits are what
    the server claims, seconds."""

    every: int
    calm: float
    cut_bytes: int
    heartbeat_interval: float
    heartbeat_timeout: float


def slow(folder: Path, *, tls: bool, processes: int) -> Part:
    """The part as the benchmark runs it."""
    setting = Setting(40, 100.0, 14.0, 1.0, 200, 4, 6.0, processes, tls)
    told = Neglect(5, 4.0, 60_000, 2.0, 3.0)
    assessment, truth = run_slow(folder, setting, told)
    return compare_slow(assessment, truth, setting, told, busy=0.0)


def run_slow(folder: Path, setting: Setting, told: Neglect) -> tuple[Assessment, dict[str, Any]]:
    """Do the run in `folder`: what the analysis makes of it, and what really happened."""
    slow_ones = range(told.every - 1, setting.viewers, told.every)
    answering = tuple(number for number in slow_ones if number // told.every % 2)
    limits = {"heartbeat_interval": told.heartbeat_interval, "heartbeat_timeout": told.heartbeat_timeout}
    order = replace(setting.order, delay=0.01, cut=Cut(answering, told.cut_bytes), limits=limits)
    more = {"slow_share": 1 / told.every, "calm": told.calm, "backlog": told.cut_bytes}
    place, truth = run_casting(folder, setting, order, scenario="slow_readers", **more)
    return assess(place), truth


def compare_slow(assessment: Assessment, truth: Mapping[str, Any], setting: Setting, told: Neglect, *, busy: float) -> Part:
    """What was injected beside what the run says. busy: seconds by which a busy machine may delay a look."""
    run, summary = assessment.run, assessment.summary
    study, end = summary.study, run.phases.judged_until
    if not isinstance(study, SlowStudy) or end is None:
        raise RuntimeError("the run of slow_readers has no study")
    stopped = {str(record["viewer"]): float(record["stopped"]) for record in run.records("slow")}
    slow_ones = len(range(told.every - 1, setting.viewers, told.every))
    silent, answering = study.of("silent"), study.of("answering")
    frame = float(np.mean([each["bytes"] for each in truth["broadcasts"]]))
    lines = [
        within("slow: stopped reading", slow_ones, len(study.readers), 0),
        within("slow: silent, never cut off", (slow_ones + 1) // 2, sum(not reader.cut for reader in silent), 0),
        within("slow: answering, cut off", len(truth["cut"]), sum(reader.cut for reader in answering), 0),
    ]
    # Of each the worst of its kind stands for all.
    dues, kept, cuts = [], [], []
    for reader in study.readers:
        session, begin = _session(reader, setting.processes), stopped[reader.viewer]
        cut = truth["cut"].get(str(session))
        if cut is not None:
            cuts.append((cut / 1e9 - begin, reader.after))
        else:
            sent = _sent(truth, session, begin, end)
            dues.append((float(sum(sent)), float(reader.written)))
            waiting = [size for at, size in truth["waiting"].get(str(session), ()) if at / 1e9 <= end]
            kept.append((float(waiting[-1]) if waiting else 0.0, float(reader.held)))
    # Frames that our own loop, by what the run says of it, may have read on the other side of a stretch's end.
    edge = frame * (_FRAMES + setting.rate * (summary.health.stall or 0.0))
    records = _RECORD * max((due for due, _ in dues), default=0.0) / frame if setting.tls else 0.0
    lines += [
        _worst("slow: due to a silent one, bytes", dues, edge),
        _worst("slow: kept for it by the server, bytes", kept, _RECEIVE + edge + records),
        _worst("slow: cut off after, s", cuts, _LOOK + busy),
    ]
    if not summary.reasons:
        verdict = summary.benchmark("slow_silent").verdict
        lines.append(Line("slow: convicted of it", 1, verdict is Verdict.FAIL, None, verdict is Verdict.FAIL))
    return Part(tuple(lines), invalid=tuple(reason.code for reason in summary.reasons))


def _session(reader: SlowReader, processes: int) -> int:
    worker, _, slot = reader.viewer.removeprefix("w").partition("-")
    return int(slot) * processes + int(worker)


def _sent(truth: Mapping[str, Any], session: int, begin: float, end: float) -> list[int]:
    """The sizes of the frames that were written for a session in a stretch of time."""
    sizes = []
    for each in truth["broadcasts"]:
        for who, at in zip(each["sockets"], each["moments"], strict=True):
            if who == session and begin < at / 1e9 <= end:
                sizes.append(int(each["bytes"]))
    return sizes


def _worst(what: str, pairs: list[tuple[float, float]], error: float) -> Line:
    """The pair that lies furthest apart."""
    if not pairs:
        return within(what, 0.0, None, error)
    injected, reported = max(pairs, key=lambda pair: abs(pair[1] - pair[0]))
    return within(what, injected, reported, error)
