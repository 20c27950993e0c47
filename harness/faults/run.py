"""Many trials at once, and the matrix that comes of them.

The waits of the checks are idle, so many servers and gates run side by side. A row that is not right is tried once more when all others
have ended and the machine is quiet; which attempt counts is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from harness.faults.known import Fault
from harness.faults.matrix import SOUND, Judged, Matrix, Row, Seen, judge
from harness.faults.passes import WarmPasses
from harness.faults.plan import Plan, Trial
from harness.faults.rigs import SMALL
from harness.faults.servers import Servers
from harness.faults.trial import Bench
from schemas import load_clauses

__all__ = ["run_matrix"]

_MOST_DOUBTFUL = 0.5  # of all servers: more is no accident, and a second look would take as long as the first
Progress = Callable[[int, int, str], None]
"""Called with (servers done, servers in all, what was just found, in words)."""


def run_matrix(plan: Plan, folder: Path, progress: Progress = lambda _done, _all, _text: None) -> Matrix:
    """Try all faults of the plan, and the sound server in each way in which they are set up. `folder`: a private one, for evidence.

    Raises RunInvalid when no server can be started at all, UsageError when something to start them with is missing.
    """
    began = time.monotonic()
    passes = WarmPasses(plan.patience)
    with Servers(folder / "servers") as servers:
        servers.seed(SMALL.arguments)
        bench = Bench(servers, passes, folder, plan.time_scale, plan.side_by_side)
        trials = plan.trials()
        rows = _tried(bench, trials, plan.jobs, progress)
        matrix = _matrix(plan, rows, time.monotonic() - began)
        for attempt in range(2, plan.second_look + 2):
            doubtful = {each.fault.name for each in matrix.wrong} | ({SOUND} if matrix.unclean else set())
            for name in rows.keys() - doubtful:
                bench.forget(name)
            if not doubtful or len(doubtful) > _MOST_DOUBTFUL * len(rows):
                break
            again = [replace(trial, attempt=attempt) for trial in trials if trial.name in doubtful]
            rows |= _tried(bench, again, max(1, plan.jobs // 4), progress)
            matrix = _matrix(plan, rows, time.monotonic() - began)
    return matrix


def _tried(bench: Bench, trials: Sequence[Trial], jobs: int, progress: Progress) -> dict[str, list[Row]]:
    """Rows by server."""
    found: dict[str, list[Row]] = {}
    done = 0
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="trial")
    try:
        waiting: dict[Future[Row], Trial] = {pool.submit(bench.run, trial): trial for trial in trials}
        while waiting:
            ended, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in ended:
                trial, row = waiting.pop(future), future.result()
                found.setdefault(trial.name, []).append(row)
                done += 1
                progress(done, len(trials), _in_words(trial, row))
    except BaseException:  # somebody wants an end: what runs must not be waited for
        pool.shutdown(wait=False, cancel_futures=True)
        bench.passes.stop()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return found


def _in_words(trial: Trial, row: Row) -> str:
    fault = trial.fault
    again = f", attempt {trial.attempt}" if trial.attempt > 1 else ""
    if row.problem:
        return f"{row.name} ({trial.rig.name}{again}): {row.problem}"
    if fault is None:
        return f"{row.name} ({trial.rig.name}): {len(row.seen)} clauses"
    own = row.seen.get(fault.clause)
    return f"{row.name}{again}: {fault.clause} {own.verdict}" if own is not None else f"{row.name} ({trial.rig.name}{again})"


def _matrix(plan: Plan, rows: Mapping[str, Sequence[Row]], seconds: float) -> Matrix:
    sound = {row.rigs[0]: row for row in rows.get(SOUND, ())}
    judged = tuple(_judged(fault, rows[fault.name], sound) for fault in plan.faults)
    return Matrix(tuple(sound.values()), judged, seconds, plan.own_only, plan.time_scale)


def _judged(fault: Fault, rows: Sequence[Row], sound: Mapping[str, Row]) -> Judged:
    """The rows of one fault as one, judged by the sound rows that were set up alike."""
    seen: dict[str, Seen] = {}
    expected: dict[str, Seen] = {}
    problems: list[str] = []
    rigs: list[str] = []
    seconds, attempt = 0.0, 1
    for row in rows:
        seen |= row.seen
        expected |= sound[row.rigs[0]].seen
        problems += [f"{row.rigs[0]}: {row.problem}"] if row.problem else []
        rigs += row.rigs
        seconds, attempt = max(seconds, row.seconds), row.attempt
    order = {id_: seen[id_] for id_ in load_clauses() if id_ in seen}
    return judge(fault, Row(fault.name, order, seconds, "; ".join(problems), tuple(rigs), attempt), expected)
