"""The whole of a run in one value: `analyse` reads a run folder, judges it, and leaves verdicts.json beside the journal.

verdicts.json is for machines: its keys are stable, and `schema` grows when their meaning changes. It can be made again at any time,
from a run that was cut short as well.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from harness.analysis.connections import Connections, connection_figures
from harness.analysis.health import Health, health_figures
from harness.analysis.judge import USUAL, Case, judge, withhold
from harness.analysis.latency import LatencyFigures, latency_figures
from harness.analysis.memory import Memory, memory_figures
from harness.analysis.metrics import metrics_of
from harness.analysis.run import Parameters, Run, load_run
from harness.analysis.studies import study_of
from harness.analysis.throughput import Throughput, throughput_figures
from harness.analysis.validity import Evidence, Fitness, Reason, reasons_against
from harness.run_folder import RunFolder, write_whole
from harness.thresholds import required_of, thresholds_in, unshown
from harness.verdict import Benchmark, Overall, Validity, Verdict, exit_code, overall
from schemas import load_contract

__all__ = ["SCHEMA", "Assessment", "Summary", "analyse", "assess"]

SCHEMA = 1
"""The version of verdicts.json."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run says. `sentence` is the reason for `verdict` in one sentence; `cut_short`: there is no footer, or the user or a
    lost target ended the run early; `seconds`: how long the run lasted; `study`: the figures of the run's own scenario, if it has any."""

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
    parameters: Parameters
    latency: LatencyFigures
    throughput: Throughput
    connections: Connections
    memory: Memory
    health: Health
    study: Any = None

    def to_json(self) -> bytes:
        """The text of verdicts.json. The points of curves stay in the journal, from which they can be drawn again."""
        document: dict[str, Any] = asdict(self)
        del document["latency"]["curve"], document["memory"]["points"]
        options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps(document, option=options)

    def benchmark(self, name: str) -> Benchmark:
        """The benchmark with this id. Raises KeyError when there is none."""
        for benchmark in self.benchmarks:
            if benchmark.id == name:
                return benchmark
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Assessment:
    """A run, the thresholds it was held against, and what it says."""

    run: Run
    fitness: Fitness
    summary: Summary


def assess(folder: Path) -> Assessment:
    """Read and judge a run folder; nothing is written. Raises HarnessError where there is no journal to read."""
    contract = load_contract()
    limits = contract.benchmark
    run = load_run(folder)
    fitness = Fitness.of(limits.latency)
    evidence = Evidence(
        run=run,
        latency=latency_figures(run),
        throughput=throughput_figures(run, limits.latency),
        connections=connection_figures(run),
        health=health_figures(run, fitness.busy_above),
        fitness=fitness,
    )
    memory = memory_figures(run)
    reasons = reasons_against(evidence)
    validity = Validity.INVALID if reasons else Validity.VALID
    study = study_of(run)
    judged = run.header.get("judged") or USUAL
    benchmarks = judge(Case(evidence, memory, limits, contract.close, study), judged)
    target = run.header.get("target") or {}
    cut_short = run.footer is None or run.footer.get("reason") != "completed" or run.phases.loss is not None
    summary = Summary(
        schema=SCHEMA,
        run=str(run.header.get("run") or folder.name),
        scenario=str(run.header.get("scenario") or ""),
        target=str(target.get("name") or ""),
        url=str(target.get("ws_url") or target.get("base_url") or ""),
        started=run.phases.started,
        seconds=run.phases.last - run.phases.started,
        verdict=Overall.UNTESTED,
        validity=validity,
        exit_code=exit_code(Overall.UNTESTED),
        cut_short=cut_short,
        sentence="",
        reasons=reasons,
        benchmarks=benchmarks,
        parameters=run.parameters,
        latency=evidence.latency,
        throughput=evidence.throughput,
        connections=evidence.connections,
        memory=memory,
        health=evidence.health,
        study=study,
    )
    return Assessment(run, fitness, _concluded(summary, Path(folder)))


def _concluded(summary: Summary, folder: Path) -> Summary:
    """The same with its verdict: by the thresholds that lie in the folder, and by the contract unless they say otherwise."""
    benchmarks = summary.benchmarks
    thresholds = thresholds_in(folder)
    if thresholds is not None:
        benchmarks = thresholds.judge(metrics_of(summary), benchmarks)
    if summary.reasons:
        benchmarks = tuple(withhold(benchmark) for benchmark in benchmarks)
    verdict = overall((benchmark.verdict for benchmark in benchmarks), summary.validity, (each.verdict for each in required_of(benchmarks)))
    return replace(
        summary,
        verdict=verdict,
        exit_code=exit_code(verdict),
        sentence=_sentence(verdict, summary.reasons, benchmarks),
        benchmarks=benchmarks,
    )


def analyse(folder: Path) -> Summary:
    """Judge a run folder and write its verdicts.json, whole or not at all. Raises HarnessError like `assess`."""
    summary = assess(folder).summary
    write_whole(RunFolder(Path(folder)).verdicts, summary.to_json())
    return summary


def _sentence(verdict: Overall, reasons: tuple[Reason, ...], benchmarks: tuple[Benchmark, ...]) -> str:
    by = {kind: [b for b in benchmarks if b.verdict is kind] for kind in Verdict}
    judged = len(by[Verdict.PASS]) + len(by[Verdict.WARN]) + len(by[Verdict.FAIL])
    if verdict is Overall.INVALID:
        more = f" There are {len(reasons) - 1} more reasons." if len(reasons) > 2 else ""
        more = " There is one more reason." if len(reasons) == 2 else more
        return f"{reasons[0].sentence}{more}"
    if verdict is Overall.FAIL:
        failed = by[Verdict.FAIL]
        return f"{len(failed)} of {judged} judged benchmarks missed. {failed[0].detail}"
    if verdict is Overall.UNTESTED:
        return unshown(benchmarks) if judged else "No benchmark could be judged on what this run saw."
    sentence = f"All {judged} judged benchmarks are met"
    if by[Verdict.WARN]:
        sentence = f"{len(by[Verdict.PASS])} of {judged} judged benchmarks are met, {len(by[Verdict.WARN])} with a warning"
    untold = len(by[Verdict.INFO]) + len(by[Verdict.INCONCLUSIVE]) + len(by[Verdict.NOT_TESTABLE])
    return f"{sentence}; {untold} could not be shown by this run." if untold else f"{sentence}."
