"""The truth of deliveries: every loss, copy, swap and stray, and delays drawn from a known distribution.

Losses, duplicates, reorderings and misdirections must be reported exactly, for each broadcast, and for each viewer where the report
names them; the p50 and p99 of the headline latency within 1 ms or 5 % of the truth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.truth.lines import Line, Part, within
from benchmarks.truth.place import Setting, run_casting
from benchmarks.truth.server import user_id
from harness.analysis.latency import latency_figures
from harness.analysis.run import Run, load_run
from harness.analysis.summary import assess
from harness.measure.plan import VotePlan

__all__ = ["KINDS", "compare", "deliveries", "latencies", "run_deliveries"]

KINDS = ("lost", "duplicated", "reordered", "misdirected")
"""What the ledger counts."""

_CAUSE = {
    "lost": "lost",
    "vanished": "lost",
    "duplicated": "duplicated",
    "late duplicate": "duplicated",
    "swapped": "reordered",
    "misdirected": "misdirected",
}
_NAMED = {"lost": (("lost", "vanished"), ()), "duplicated": (("duplicated",), ("late duplicate",)), "misdirected": (("misdirected",), ())}
"""Kinds whose findings name viewers: of what they must, and of what they may. A copy that comes after a broadcast's books were closed is
counted, and not named any more."""
_STALL = (0.4, 0.5)  # begin as a share of the run, and length in seconds
_ABSOLUTE, _RELATIVE = 0.001, 0.05


def deliveries(folder: Path, *, tls: bool, processes: int) -> Part:
    """The part as the benchmark runs it."""
    setting = Setting(200, 50.0, 14.0, 2.0, 250, 20, 6.0, processes, tls)
    run, truth = run_deliveries(folder, setting)
    part = compare(run, truth, setting, absolute=_ABSOLUTE, relative=_RELATIVE)
    return replace(part, invalid=tuple(reason.code for reason in assess(run.folder).summary.reasons))


def run_deliveries(folder: Path, setting: Setting) -> tuple[Run, dict[str, Any]]:
    """Do the run in `folder` and return it as the analysis reads it, and what really happened."""
    stall = _STALL[0] * (setting.warmup + setting.duration), min(_STALL[1], 0.2 * setting.plan.feature_period)
    place, truth = run_casting(folder, setting, replace(setting.order, stall=stall, mishaps=True))
    return load_run(place), truth


def _number(plan: VotePlan, each: Mapping[str, Any]) -> int:
    """The cast of a broadcast: its feature comes once a cycle."""
    first = plan.by_feature(plan.features[each["feature"]], 0.0, early=len(plan.features) / plan.rate - 0.5 / plan.rate)
    if first is None:
        raise RuntimeError("the server was asked for a feature that is not in the plan")
    n: int = first + each["occurrence"] * len(plan.features)
    cast = plan.cast(n)
    if (cast.voter, cast.action) != (user_id(each["voter"]), each["action"]):
        raise RuntimeError(f"cast {n} of the plan is not what the server was asked for")
    return n


def _injected(plan: VotePlan, truth: Mapping[str, Any]) -> tuple[dict[str, Counter[int]], dict[str, Counter[tuple[int, int]]]]:
    """By kind: deliveries per cast; and by what was done: (cast, session)."""
    per_cast: dict[str, Counter[int]] = {kind: Counter() for kind in KINDS}
    per_viewer: dict[str, Counter[tuple[int, int]]] = {what: Counter() for what in _CAUSE}
    for each in truth["broadcasts"]:
        if each["kind"] is not None:
            n = _number(plan, each)
            per_cast[_CAUSE[each["kind"]]][n] += len(each["chosen"])
            per_viewer[each["kind"]].update((n, session) for session in each["chosen"])
    return per_cast, per_viewer


def _named(run: Run, kind: str, processes: int) -> tuple[Counter[tuple[int, int]], set[int]]:
    """(cast, session) of the findings of a kind, and the casts whose findings do not name everybody."""
    named: Counter[tuple[int, int]] = Counter()
    cut: set[int] = set()
    for finding in run.findings:
        if finding["what"] == kind and finding["n"] is not None:
            viewers = finding["viewers"]
            for viewer in viewers:
                worker, _, slot = viewer.removeprefix("w").partition("-")
                named[finding["n"], int(slot) * processes + int(worker)] += 1
            if finding["total"] > len(viewers):
                cut.add(finding["n"])
    return _uncut(named, cut), cut


def _uncut(pairs: Counter[tuple[int, int]], cut: set[int]) -> Counter[tuple[int, int]]:
    return Counter({key: times for key, times in pairs.items() if key[0] not in cut})


def latencies(run: Run, plan: VotePlan, truth: Mapping[str, Any]) -> np.ndarray:
    """The truth of the headline: of every delivery in the steady phase, written less due, seconds."""
    epoch = run.phases.epoch
    if epoch is None:
        raise RuntimeError("the run ended before the first vote")
    parts = [
        np.array(each["moments"], np.float64) / 1e9 - (epoch + plan.offset(n))
        for each in truth["broadcasts"]
        if (n := _number(plan, each)) >= plan.steady_from
    ]
    return np.concatenate(parts)


def compare(run: Run, truth: Mapping[str, Any], setting: Setting, *, absolute: float, relative: float) -> Part:
    """What was injected beside what the run says. Latencies may differ by `absolute` seconds or by a share `relative`."""
    plan = setting.plan
    lines, faults = [], []
    casts = len(truth["broadcasts"])
    lines.append(Line("broadcasts", plan.count, casts, 0, casts == plan.count and not truth["stray"]))
    written = sum(len(each["sockets"]) for each in truth["broadcasts"])
    lines.append(within("deliveries", written, run.types.get("VOTE_UPDATE", 0), 0))
    per_cast, per_viewer = _injected(plan, truth)
    for kind in KINDS:
        told = {int(n): int(count) for n, count in zip(run.broadcasts["n"], run.broadcasts[kind], strict=True) if count}
        wrong = {n: (per_cast[kind][n], told.get(n, 0)) for n in per_cast[kind] | Counter(told) if per_cast[kind][n] != told.get(n, 0)}
        lines.append(Line(kind, per_cast[kind].total(), sum(told.values()), 0, not wrong))
        faults += [f"cast {n}: {want} {kind}, {got} reported" for n, (want, got) in sorted(wrong.items())]
        if kind in _NAMED:
            named, cut = _named(run, kind, setting.processes)
            must, may = (_uncut(sum((per_viewer[what] for what in causes), Counter()), cut) for causes in _NAMED[kind])
            missing, extra = must - named, named - must - may
            found = (named & must) + extra
            lines.append(Line(f"{kind}, by viewer", must.total(), found.total(), 0, not missing and not extra))
            faults += [f"cast {n}: {kind} at session {session} is not named" for n, session in missing]
            faults += [f"cast {n}: {kind} at session {session} is named" for n, session in extra]
    real, figures = latencies(run, plan, truth), latency_figures(run).headline
    for name, share, seen in (("p50", 0.5, figures.p50), ("p99", 0.99, figures.p99)):
        want = float(np.quantile(real, share, method="inverted_cdf"))
        got = float("nan") if seen is None else seen
        lines.append(within(f"latency {name}, ms", want * 1e3, got * 1e3, max(absolute, relative * want) * 1e3))
    return Part(tuple(lines), tuple(faults))
