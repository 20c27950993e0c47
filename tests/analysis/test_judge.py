"""judge.py and summary.py: each FAIL by its own change, what is not shown is not claimed, and a lost target convicts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.analysis.summary import SCHEMA, Summary, analyse, assess
from harness.errors import ExitCode
from harness.measure.histogram import Histogram
from harness.verdict import Overall, Verdict
from schemas import load_contract
from tests.analysis.builder import FULL, T0, Floats, Recipe, Record, events, good, of, second_at, without, write
from tests.analysis.conftest import Judge

RECIPE = Recipe()
LIMIT = load_contract().benchmark
Change = Callable[[list[Record]], list[Record]]


def _account(column: str, count: int) -> Change:
    def change(records: list[Record]) -> list[Record]:
        row = of(records, "broadcasts")[0]
        row[column][77] += count
        if column == "lost":
            row["delivered"][77] -= count
        return records

    return change


def _latency(seconds: float) -> Change:
    def change(records: list[Record]) -> list[Record]:
        histogram = Histogram()
        histogram.record([seconds * 1e6] * 7200)
        for record in of(records, "second"):
            record["latency"] = Histogram().encode()
        second_at(records, RECIPE.steady_from + 4)["latency"] = histogram.encode()
        return records

    return change


def _stamped(seconds: float) -> Change:
    def change(records: list[Record]) -> list[Record]:
        row = of(records, "broadcasts")[0]
        row["stamped"] = [t + seconds for t in row["stamped"]]
        return records

    return change


def _close(records: list[Record]) -> list[Record]:
    close = {"kind": "closed", "worker": 0, "t": RECIPE.steady_from, "viewer": "w0-1", "code": 1006, "reason": "", "by": "server"}
    return [*records[:-1], close, records[-1]]


def _vanish(records: list[Record]) -> list[Record]:
    second_at(records, RECIPE.steady_from + 3)["open"] = 59
    return records


def _refuse(records: list[Record]) -> list[Record]:
    for record in of(records, "second"):
        record["open"] = min(record["open"], 50)
    last = second_at(records, RECIPE.epoch - 0.6)
    last["refused"], last["opened"] = 10, 0
    return records


def _invalid(records: list[Record]) -> list[Record]:
    second_at(records, RECIPE.steady_from + 3)["invalid"] = 1
    return records


def _silent(records: list[Record]) -> list[Record]:
    row = of(records, "broadcasts")[0]
    row["expected"][77] = row["delivered"][77] = row["lost"][77] = 0
    row["first"][77] = row["last"][77] = row["stamped"][77] = None
    return records


def _failed(records: list[Record]) -> list[Record]:
    of(records, "casts")[0]["status"][77] = 503
    return _silent(records)


def _batched(records: list[Record]) -> list[Record]:
    _silent(records)
    return [*records[:-1], {"kind": "coalesced", "worker": 0, "n": [77], "into": [79]}, records[-1]]


def _unmatched(records: list[Record]) -> list[Record]:
    return [*records[:-1], {"kind": "unmatched", "worker": 0, "t": RECIPE.steady_from, "frames": 1, "example": "{}"}, records[-1]]


BROKEN: dict[str, tuple[Change, set[str], Verdict]] = {
    "late": (_latency(LIMIT.latency * 1.1), {"latency"}, Verdict.FAIL),
    "stamped late": (_stamped(LIMIT.latency), {"latency_stamped"}, Verdict.FAIL),
    "lost": (_account("lost", 1), {"delivery"}, Verdict.FAIL),
    "misdirected": (_account("misdirected", 1), {"misdirected"}, Verdict.FAIL),
    "duplicated": (_account("duplicated", 1), {"duplicated"}, Verdict.WARN),
    "reordered": (_account("reordered", 1), {"reordered"}, Verdict.WARN),
    "closed": (_close, {"closes", "connections"}, Verdict.FAIL),
    "vanished": (_vanish, {"connections"}, Verdict.FAIL),
    "refused": (_refuse, {"connections"}, Verdict.FAIL),
    "invalid frame": (_invalid, {"invalid_frames"}, Verdict.FAIL),
    "never broadcast": (_silent, {"broadcast_rate"}, Verdict.FAIL),
    "server error": (_failed, {"broadcast_rate"}, Verdict.FAIL),
    "batched": (_batched, {"broadcast_rate"}, Verdict.WARN),
    "no vote": (_unmatched, {"unmatched"}, Verdict.WARN),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_defect_convicts_its_own_benchmark_and_no_other(judge: Judge, records: list[Record], name: str) -> None:
    change, named, verdict = BROKEN[name]
    summary = judge(change(records)).summary
    assert summary.reasons == ()
    assert {b.id for b in summary.benchmarks if b.verdict in (Verdict.FAIL, Verdict.WARN)} == named
    for benchmark in (summary.benchmark(b) for b in named):
        assert benchmark.verdict is verdict
        assert benchmark.detail
        assert benchmark.remedy
    failed = verdict is Verdict.FAIL
    assert summary.verdict is (Overall.FAIL if failed else Overall.PASS)
    assert summary.exit_code == (ExitCode.FAIL if failed else ExitCode.PASS)


def test_a_small_run_does_not_claim_the_contracts_numbers(judge: Judge, records: list[Record]) -> None:
    summary = judge(records).summary
    for name in ("connections", "broadcast_rate"):
        benchmark = summary.benchmark(name)
        assert benchmark.verdict is Verdict.INFO
        assert "not shown" in benchmark.detail
    assert (summary.verdict, summary.exit_code) == (Overall.PASS, ExitCode.PASS)
    assert "2 could not be shown" in summary.sentence


def test_the_contracts_own_load_claims_all_of_them(tmp_path: Path) -> None:
    summary = analyse(write(tmp_path / "a", good(FULL)))
    assert {b.id: b.verdict for b in summary.benchmarks if b.verdict is not Verdict.PASS} == {}
    assert summary.benchmark("connections").measured == LIMIT.connections
    assert summary.benchmark("broadcast_rate").measured == pytest.approx(LIMIT.broadcasts_per_second)
    assert summary.exit_code == ExitCode.PASS


def test_more_connections_than_the_limit_may_be_refused(tmp_path: Path) -> None:
    records = good(replace(FULL, rate=10.0, duration=2.0, warmup=0.0))
    records[0]["parameters"]["viewers"] = 1100
    second_at(records, T0 + 5.0)["refused"] = 100
    assert assess(write(tmp_path / "a", records)).summary.benchmark("connections").verdict is Verdict.PASS


def test_a_limit_inside_the_interval_is_a_warning(tmp_path: Path) -> None:
    def tail(n: int, rng: np.random.Generator, viewers: int) -> Floats:
        return np.full(viewers, 3.2 if n == 100 else 0.02)  # 1 of 120 broadcasts: under the p99, within its interval

    benchmark = assess(write(tmp_path / "a", good(replace(RECIPE, latency=tail)))).summary.benchmark("latency")
    assert benchmark.verdict is Verdict.WARN
    assert benchmark.measured == pytest.approx(0.02, rel=2e-3)


@pytest.mark.parametrize(
    ("url", "shift", "verdict"),
    [
        ("http://127.0.0.1:3000", 0.0, Verdict.PASS),
        ("http://[::1]:3000", 0.0, Verdict.PASS),
        ("http://localhost:3000", 0.0, Verdict.PASS),
        ("https://app.example.org", 0.0, Verdict.INFO),
        ("https://app.example.org", 60.0, Verdict.INFO),
        ("http://127.0.0.1:3000", -0.2, Verdict.INCONCLUSIVE),
    ],
)
def test_two_clocks_are_never_judged_as_one(judge: Judge, records: list[Record], url: str, shift: float, verdict: Verdict) -> None:
    records[0]["target"]["base_url"] = url
    assert judge(_stamped(shift)(records)).summary.benchmark("latency_stamped").verdict is verdict


def _lose_target(records: list[Record], at: float) -> list[Record]:
    """The target dies at `at`: the last deliveries are cut off, votes get no answer, nothing is heard any more."""
    rest = [r for r in records if r["kind"] not in ("second", "target", "event", "footer") or r.get("t", at) <= at]
    casts, row = of(rest, "casts")[0], of(rest, "broadcasts")[0]
    for n, due in enumerate(casts["due"]):
        if due > at:
            casts["status"][n] = 0
        if due > at - 0.1:
            row["lost"][n], row["delivered"][n] = row["expected"][n], 0
            row["first"][n] = row["last"][n] = row["stamped"][n] = None
    footer = {**records[-1], "ended": at + 1.0, "reason": "target_lost"}
    return [*events(rest, "target_lost", at, reason="every socket was reset"), footer]


@pytest.mark.parametrize("footer", [True, False])
def test_a_target_that_dies_convicts_itself_and_is_charged_once(judge: Judge, records: list[Record], footer: bool) -> None:
    changed = _lose_target(records, RECIPE.steady_from + 4.0)
    summary = judge(changed if footer else without(changed, "footer")).summary
    assert summary.reasons == ()
    assert (summary.verdict, summary.exit_code, summary.cut_short) == (Overall.FAIL, ExitCode.FAIL, True)
    failed = {b.id for b in summary.benchmarks if b.verdict is Verdict.FAIL}
    assert failed == {"connections", "broadcast_rate"}
    assert summary.benchmark("latency").verdict is Verdict.INCONCLUSIVE
    assert summary.throughput.whole.lost == 0
    # The votes of the last 0.1 s were accepted and died with the target; those after it owe nothing.
    assert summary.throughput.cut == 2 * RECIPE.viewers
    assert "every socket was reset" in summary.sentence


def test_what_was_lost_well_before_the_target_died_is_still_lost(judge: Judge, records: list[Record]) -> None:
    changed = _lose_target(records, RECIPE.steady_from + 4.5)
    row = of(changed, "broadcasts")[0]
    row["lost"][25], row["delivered"][25] = 1, 59  # due 4.25 s before
    assert judge(changed).summary.benchmark("delivery").verdict is Verdict.FAIL


def test_a_target_that_dies_under_the_ramp_is_convicted_too(judge: Judge, records: list[Record]) -> None:
    at = T0 + 5.0
    rest = [r for r in records if r["kind"] not in ("casts", "broadcasts", "footer") and r.get("t", 0.0) <= at]
    summary = judge(events(rest, "target_exited", at, status=-9)).summary
    assert (summary.verdict, summary.exit_code) == (Overall.FAIL, ExitCode.FAIL)
    assert summary.benchmark("connections").verdict is Verdict.FAIL
    assert "-9" in summary.sentence


def _empty(records: list[Record]) -> list[Record]:
    rest = without(without(records, "casts"), "broadcasts")
    for record in of(rest, "second"):
        record |= {"latency": Histogram().encode(), "frames": 0, "reads": 0, "types": {}}
    return rest


def test_an_empty_steady_phase_never_passes(judge: Judge, records: list[Record]) -> None:
    summary = judge(_empty(records)).summary
    assert summary.exit_code == ExitCode.INVALID
    assert summary.benchmark("latency").measured is None
    assert not [b for b in summary.benchmarks if b.verdict is Verdict.PASS]


def test_accepted_votes_of_which_nobody_hears_fail(judge: Judge, records: list[Record]) -> None:
    row = of(records, "broadcasts")[0]
    row["lost"], row["delivered"] = row["expected"], [0] * 140
    row["first"] = row["last"] = row["stamped"] = [None] * 140
    for record in of(records, "second"):
        record |= {"latency": Histogram().encode(), "frames": 0, "reads": 0, "types": {}}
    summary = judge(records).summary
    assert summary.exit_code == ExitCode.FAIL
    assert {b.id for b in summary.benchmarks if b.verdict is Verdict.FAIL} == {"broadcast_rate", "delivery"}
    assert summary.benchmark("broadcast_rate").limit == summary.parameters.rate, "less was asked for than the contract allows"
    for name in ("latency", "latency_stamped", "misdirected", "invalid_frames"):
        assert summary.benchmark(name).verdict is Verdict.INCONCLUSIVE


def test_a_target_that_turns_the_fleet_away_before_any_vote_fails(judge: Judge, records: list[Record]) -> None:
    names = ("cast_started", "cast_ended", "drained")
    rest = [r for r in _refuse(_empty(records)) if r.get("name") not in names]
    summary = judge(rest).summary
    assert (summary.exit_code, summary.benchmark("connections").verdict) == (ExitCode.FAIL, Verdict.FAIL)


KEYS = {
    *("schema", "run", "scenario", "target", "url", "started", "seconds", "verdict", "validity", "exit_code", "cut_short"),
    *("sentence", "reasons", "benchmarks", "parameters", "latency", "throughput", "connections", "memory", "health", "study"),
}
BENCHMARK_KEYS = {"id", "title", "clause", "section", "limit", "measured", "unit", "margin", "verdict", "samples", "detail", "remedy"}


def test_verdicts_json_has_stable_keys_and_names(tmp_path: Path, records: list[Record]) -> None:
    summary = analyse(write(tmp_path / "a", _close(records)))
    document = json.loads((tmp_path / "a" / "verdicts.json").read_bytes())
    assert set(document) == KEYS
    assert all(set(benchmark) == BENCHMARK_KEYS for benchmark in document["benchmarks"])
    assert (document["schema"], document["verdict"], document["exit_code"]) == (SCHEMA, "FAIL", 1)
    assert document["connections"]["codes"] == {"1006": 1}
    assert [benchmark["id"] for benchmark in document["benchmarks"]] == [benchmark.id for benchmark in summary.benchmarks]
    assert [benchmark["id"] for benchmark in document["benchmarks"]] == [
        *("latency", "latency_stamped", "connections", "broadcast_rate", "delivery", "memory", "misdirected", "duplicated"),
        *("reordered", "invalid_frames", "closes", "unmatched"),
    ]


def test_a_benchmark_is_asked_for_by_its_id(judge: Judge, records: list[Record]) -> None:
    summary: Summary = judge(records).summary
    with pytest.raises(KeyError):
        summary.benchmark("speed")
