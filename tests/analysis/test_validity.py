"""validity.py: each reason is provoked by one change of a good run, and by nothing else; and what is the target's is never ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.analysis.validity import Fitness
from harness.errors import ExitCode
from harness.measure.histogram import Histogram
from harness.verdict import Overall, Validity, Verdict
from schemas import load_contract
from tests.analysis.builder import Recipe, Record, events, of, second_at, without
from tests.analysis.conftest import Judge

RECIPE = Recipe()
FIT = Fitness.of(load_contract().benchmark.latency)
Change = Callable[[list[Record]], list[Record]]


def _late(seconds: float, of_all: int) -> Change:
    def change(records: list[Record]) -> list[Record]:
        casts = of(records, "casts")[0]
        for n in range(20, 140, 120 // of_all):
            casts["called"][n] += seconds
            casts["answered"][n] += seconds
        return records

    return change


def _lag(seconds: float) -> Change:
    def change(records: list[Record]) -> list[Record]:
        histogram = Histogram()
        histogram.record([seconds * 1e6] * 100)
        for record in of(records, "second"):
            record["lag"] = histogram.encode()
        return records

    return change


def _stall(seconds: float) -> Change:
    def change(records: list[Record]) -> list[Record]:
        second_at(records, RECIPE.steady_from + 2)["loop_stall"] = seconds
        return records

    return change


def _busy(share: float, lag: float) -> Change:
    def change(records: list[Record]) -> list[Record]:
        for record in of(_lag(lag)(records), "second"):
            record["host_cpu"] = share
        return records

    return change


def _status(status: int, count: int) -> Change:
    def change(records: list[Record]) -> list[Record]:
        casts, row = of(records, "casts")[0], of(records, "broadcasts")[0]
        for n in range(40, 40 + count):
            casts["status"][n] = status
            row["delivered"][n], row["lost"][n] = 0, row["expected"][n]
            row["first"][n] = row["last"][n] = row["stamped"][n] = None
        return records

    return change


def _not_cast(count: int) -> Change:
    def change(records: list[Record]) -> list[Record]:
        for row in (of(records, "casts")[0], of(records, "broadcasts")[0]):
            for column, values in row.items():
                if isinstance(values, list):
                    row[column] = values[:60] + values[60 + count :]
        return records

    return change


def _footer(reason: str) -> Change:
    def change(records: list[Record]) -> list[Record]:
        records[-1]["reason"] = reason
        return records

    return change


def _event(name: str, at: float, **detail: object) -> Change:
    return lambda records: events(records, name, at, **detail)


def _never_cast(records: list[Record]) -> list[Record]:
    names = ("cast_started", "cast_ended", "drained")
    rest = [r for r in records if r["kind"] not in ("casts", "broadcasts") and r.get("name") not in names]
    for record in of(rest, "second"):
        record["latency"] = Histogram().encode()
    return rest


def _steady_until(at: float) -> Change:
    def change(records: list[Record]) -> list[Record]:
        started = next(r for r in of(records, "event") if r["name"] == "cast_started")
        started["detail"]["steady_until"] = at
        return records

    return change


def _unsettled(records: list[Record]) -> list[Record]:
    row = of(records, "broadcasts")[0]
    for column, values in row.items():
        if isinstance(values, list):
            row[column] = values[:60] + values[61:]
    return records


def _fewer_opened(records: list[Record]) -> list[Record]:
    for record in of(records, "second"):
        record["open"] = min(record["open"], 50)
    second_at(records, RECIPE.epoch - 0.6)["opened"] = 0
    return records


def _own_closes(records: list[Record]) -> list[Record]:
    close = {"kind": "closed", "worker": 0, "t": RECIPE.steady_from, "viewer": "w0-1", "code": 1000, "reason": "", "by": "client"}
    return [*records[:-1], close, records[-1]]


def _own_error(records: list[Record]) -> list[Record]:
    histogram = Histogram()
    histogram.record([3.02e6] * 7200)
    for record in of(records, "second"):
        record["latency"] = Histogram().encode()
    second_at(records, RECIPE.steady_from + 4)["latency"] = histogram.encode()
    return _late(0.06, 120)(records)


REASONS: dict[str, Change] = {
    "nothing_measured": _never_cast,
    "cut_short": lambda records: without(records, "footer"),
    "stopped": _event("stopped", RECIPE.steady_from + 2),
    "worker_lost": _event("worker_lost", RECIPE.steady_from + 2, worker=1),
    "worker_lost ": _footer("worker_lost"),
    "generator_failed": _event("overload", RECIPE.steady_from + 2, reason="no descriptors"),
    "generator_failed ": _footer("problem"),
    "short": _steady_until(RECIPE.steady_until - 2.0),
    "slip": _late(FIT.slip_p99 * 1.2, 6),
    "slip ": _late(FIT.slip_max * 1.01, 1),
    "lag": _lag(FIT.lag_p99 * 1.1),
    "stall": _stall(FIT.stall * 1.01),
    "host_cpu": _busy(0.99, FIT.busy_lag * 1.1),
    "clock_step": _event("clock_step", RECIPE.steady_from, seconds=-FIT.clock_step * 1.1),
    "casts_missed": _status(0, 3),
    "casts_missed ": _not_cast(3),
    "votes_refused": _status(409, 3),
    "unsettled": _unsettled,
    "sockets_not_opened": _fewer_opened,
    "own_closes": _own_closes,
    "own_error": _own_error,
}


@pytest.mark.parametrize("name", REASONS)
def test_each_reason_by_its_own_change(judge: Judge, records: list[Record], name: str) -> None:
    summary = judge(REASONS[name](records)).summary
    assert [reason.code for reason in summary.reasons] == [name.strip()]
    assert (summary.validity, summary.verdict, summary.exit_code) == (Validity.INVALID, Overall.INVALID, ExitCode.INVALID)
    assert summary.reasons[0].sentence in summary.sentence
    assert summary.reasons[0].remedy
    assert not {b.verdict for b in summary.benchmarks} & {Verdict.PASS, Verdict.FAIL, Verdict.WARN}


FIT_CHANGES: dict[str, Change] = {
    "nothing": lambda records: records,
    "slip within": _late(FIT.slip_p99 * 0.9, 6),
    "one slip within": _late(FIT.slip_max * 0.9, 1),
    "lag within": _lag(FIT.lag_p99 * 0.95),
    "stall within": _stall(FIT.stall * 0.99),
    "busy but in time": _busy(0.99, FIT.busy_lag * 0.9),
    "lagging but not busy": _busy(0.9, FIT.busy_lag * 1.1),
    "clock nudged": _event("clock_step", RECIPE.steady_from, seconds=FIT.clock_step * 0.9),
    "one vote without an answer": _status(0, 1),
    "stopped after the steady phase": _event("stopped", RECIPE.drained + 0.1),
    "worker's free text": _event("problem", RECIPE.steady_from, text="something to know"),
}


@pytest.mark.parametrize("name", FIT_CHANGES)
def test_within_the_thresholds_the_run_is_valid(judge: Judge, records: list[Record], name: str) -> None:
    summary = judge(FIT_CHANGES[name](records)).summary
    assert summary.reasons == ()
    assert (summary.validity, summary.verdict) == (Validity.VALID, Overall.PASS)


def test_what_the_generator_did_wrong_never_becomes_the_targets_failure(judge: Judge, records: list[Record]) -> None:
    of(records, "broadcasts")[0]["lost"][50] = 5
    assert judge(records).summary.exit_code == ExitCode.FAIL
    summary = judge(_lag(FIT.lag_p99 * 2)(records)).summary
    assert summary.exit_code == ExitCode.INVALID
    assert summary.benchmark("delivery").verdict is Verdict.INCONCLUSIVE
    assert summary.throughput.whole.lost == 5


def test_stopped_by_hand_when_the_steady_phase_was_over_and_drained_still_judges(judge: Judge, records: list[Record]) -> None:
    changed = _footer("stopped")(events(records, "stopped", RECIPE.steady_until + 0.9))
    summary = judge(changed).summary
    assert (summary.verdict, summary.cut_short) == (Overall.PASS, True)


def test_every_threshold_is_a_share_of_the_limit() -> None:
    assert Fitness.of(6.0).slip_p99 == 2 * Fitness.of(3.0).slip_p99
    assert Fitness.of(3.0).lag_p99 <= 3.0 / 30
