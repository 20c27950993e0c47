"""The whole of a reconnect study in one value: `assess_study` reads and judges a run folder, `analyse_study` leaves verdicts.json too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from harness.analysis.judge import withhold
from harness.analysis.reconnect.cells import StudyRecord, load_study
from harness.analysis.reconnect.figures import CellFigures, cell_figures
from harness.analysis.reconnect.fitness import Evidence, reasons_against
from harness.analysis.reconnect.judge import judge
from harness.analysis.reconnect.metrics import study_metrics
from harness.analysis.summary import SCHEMA
from harness.analysis.validity import Reason
from harness.run_folder import RunFolder, write_whole
from harness.thresholds import required_of, thresholds_in, unshown
from harness.verdict import Benchmark, Overall, Validity, Verdict, exit_code, overall

__all__ = ["StudyAssessment", "StudySummary", "analyse_study", "assess_study"]

_QUANTILES = {"p50": 0.5, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True, slots=True)
class StudySummary:
    """What a study says; the names and meanings are those of every run's summary."""

    schema: int
    run: str
    scenario: str
    target: str
    url: str
    started: float
    seconds: float
    verdict: Overall
    validity: Validity
    exit_code: int
    cut_short: bool
    sentence: str
    reasons: tuple[Reason, ...]
    benchmarks: tuple[Benchmark, ...]

    def benchmark(self, name: str) -> Benchmark:
        """The benchmark with this id. Raises KeyError when there is none."""
        for benchmark in self.benchmarks:
            if benchmark.id == name:
                return benchmark
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class StudyAssessment:
    """A study, the figures of its cells, and what it says."""

    evidence: Evidence
    summary: StudySummary

    @property
    def study(self) -> StudyRecord:
        return self.evidence.study

    def to_json(self) -> bytes:
        """The text of verdicts.json: the summary, the parameters, and the figures of each cell. Single clients stay in the journal."""
        head = {name: getattr(self.summary, name) for name in StudySummary.__dataclass_fields__}
        document = {**head, "parameters": dict(self.study.parameters), "cells": [_cell_facts(each) for each in self.evidence.cells]}
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE)


def assess_study(folder: Path) -> StudyAssessment:
    """Read and judge a run folder; nothing is written. Raises HarnessError where there is no journal to read."""
    study = load_study(folder)
    evidence = Evidence.of(study, [cell_figures(study, cell) for cell in study.cells if not cell.why])
    reasons = reasons_against(evidence)
    validity = Validity.INVALID if reasons else Validity.VALID
    benchmarks = _with_thresholds(Path(folder), evidence, judge(evidence))
    if reasons:
        benchmarks = tuple(withhold(benchmark) for benchmark in benchmarks)
    verdict = overall((benchmark.verdict for benchmark in benchmarks), validity, (each.verdict for each in required_of(benchmarks)))
    target = study.header.get("target") or {}
    summary = StudySummary(
        schema=SCHEMA,
        run=str(study.header.get("run") or Path(folder).name),
        scenario=str(study.header.get("scenario") or ""),
        target=str(target.get("name") or ""),
        url=str(target.get("ws_url") or ""),
        started=study.started,
        seconds=study.last - study.started,
        verdict=verdict,
        validity=validity,
        exit_code=exit_code(verdict),
        cut_short=study.footer is None or study.footer.get("reason") != "completed",
        sentence=_sentence(verdict, reasons, benchmarks, evidence),
        reasons=reasons,
        benchmarks=benchmarks,
    )
    return StudyAssessment(evidence, summary)


def analyse_study(folder: Path) -> StudySummary:
    """Judge a run folder and write its verdicts.json, whole or not at all. Raises HarnessError like `assess_study`."""
    assessment = assess_study(folder)
    write_whole(RunFolder(Path(folder)).verdicts, assessment.to_json())
    return assessment.summary


def _with_thresholds(folder: Path, evidence: Evidence, benchmarks: tuple[Benchmark, ...]) -> tuple[Benchmark, ...]:
    """With those of one's own that lie in the folder; the contract's go on to judge unless they say otherwise."""
    thresholds = thresholds_in(folder)
    return (
        benchmarks
        if thresholds is None
        else thresholds.judge(study_metrics(evidence.study.parameters, evidence.cells, benchmarks), benchmarks)
    )


def _sentence(verdict: Overall, reasons: tuple[Reason, ...], benchmarks: tuple[Benchmark, ...], evidence: Evidence) -> str:
    by = {kind: [b for b in benchmarks if b.verdict is kind] for kind in Verdict}
    judged = len(by[Verdict.PASS]) + len(by[Verdict.WARN]) + len(by[Verdict.FAIL])
    if verdict is Overall.INVALID:
        return reasons[0].sentence
    if verdict is Overall.FAIL:
        return f"{len(by[Verdict.FAIL])} of {judged} judged benchmarks missed. {by[Verdict.FAIL][0].detail}"
    if verdict is Overall.UNTESTED:
        return unshown(benchmarks) if judged else "No benchmark could be judged on what this study saw."
    warned = f", {len(by[Verdict.WARN])} with a warning" if by[Verdict.WARN] else ""
    lost = max((cell.given_up for cell in evidence.cells if cell.cell.model == "sample" and cell.cell.healed is not None), default=0)
    own = f" The contract's own sample class lost up to {lost:,} of {evidence.study.clients:,} clients on the same server." if lost else ""
    return f"{len(by[Verdict.PASS])} of {judged} judged benchmarks are met{warned}: the server takes its clients back.{own}"


def _cell_facts(figures: CellFigures) -> dict[str, Any]:
    cell = figures.cell
    return {
        "cause": cell.cause,
        "outage_asked": cell.outage,
        "outage": cell.healed,
        "model": cell.model,
        "clients": cell.clients,
        "complete": cell.complete,
        "to_back": dict(zip(("p50", "p95", "p100"), figures.to_back, strict=True)),
        "foretold_to_back": dict(zip(("p50", "p95", "p100"), figures.foretold_to_back, strict=True)),
        "wait": _quantiles(figures.waits),
        "excess": _quantiles(figures.excess),
        "attempts": len(figures.attempts),
        "peak": figures.peak,
        "outcomes": dict(figures.outcomes),
        "refusals": dict(figures.refusals),
        "codes": dict(figures.codes),
        "most_sockets": figures.most_sockets,
        "leaked": figures.leaked,
        "given_up": figures.given_up,
        "foretold_given_up": figures.foretold_given_up,
        "stranded": figures.stranded,
        "late": {"p50": figures.late.p50, "p99": figures.late.p99, "max": figures.late.max},
        "server_cores": figures.cpu,
        "accept_queue": figures.queue,
    }


def _quantiles(values: np.ndarray) -> dict[str, float | None]:
    known = values[np.isfinite(values)]
    return {name: float(np.quantile(known, q)) if len(known) else None for name, q in _QUANTILES.items()}
