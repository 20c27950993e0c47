"""latency.py, throughput.py, connections.py, health.py: known truths in, the same figures out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.latency import of_values
from harness.analysis.summary import analyse, assess
from tests.analysis.builder import Floats, Recipe, Record, events, good, of, second_at, without, write
from tests.analysis.conftest import Judge

RECIPE = Recipe()


def _ranked(n: int, rng: np.random.Generator, viewers: int) -> Floats:
    """Every delivery of the run has a latency of its own: 0.1 ms steps over all of them."""
    first = int(RECIPE.warmup * RECIPE.rate)
    place = (n - first) * viewers if n >= first else 0
    return np.asarray(0.001 + (place + np.arange(viewers)) * 1e-4, dtype=np.float64)


def test_the_headline_quantiles_are_those_of_the_deliveries(tmp_path: Path) -> None:
    latency = assess(write(tmp_path / "a", good(replace(RECIPE, latency=_ranked)))).summary.latency
    samples = 7200
    assert latency.headline.n == samples
    for share, seen in ((0.5, latency.headline.p50), (0.9, latency.headline.p90), (0.99, latency.headline.p99)):
        assert seen == pytest.approx(0.001 + (share * samples - 1) * 1e-4, rel=2e-3)
    assert latency.headline.max == pytest.approx(0.001 + (samples - 1) * 1e-4, rel=2e-3)
    assert latency.interval is not None
    low, high = latency.interval
    assert latency.headline.p99 is not None
    assert low < latency.headline.p99 < high
    # 120 broadcasts, not 7200 deliveries: 0.99 +- 1.96 sqrt(0.99 0.01 / 120), cut at the maximum.
    assert low == pytest.approx(0.001 + 0.9722 * samples * 1e-4, rel=5e-3)
    assert high == pytest.approx(latency.headline.max)


def test_the_contract_metric_the_spread_and_the_api_are_told_apart(judge: Judge, records: list[Record]) -> None:
    latency = judge(records).summary.latency
    assert latency.stamped.n == latency.spread.n == latency.api.n == 120
    assert latency.stamped.p99 == pytest.approx(0.004, abs=1e-5)
    assert latency.spread.p50 == pytest.approx(0.004, abs=1e-5)
    assert latency.api.p50 == pytest.approx(0.006, abs=1e-5)


def test_two_workers_come_to_the_figures_of_one(tmp_path: Path, judge: Judge, records: list[Record]) -> None:
    one, two = judge(records).summary, assess(write(tmp_path / "two", good(replace(RECIPE, workers=2)))).summary
    assert one.latency == two.latency
    assert two.throughput.parsed > 0  # each worker parses for itself
    assert one.throughput == replace(two.throughput, parsed=one.throughput.parsed)
    assert one.connections == two.connections
    assert [b.verdict for b in one.benchmarks] == [b.verdict for b in two.benchmarks]


@settings(deadline=None)
@given(st.lists(st.floats(0.0, 1e3), min_size=1), st.integers(0, 3))
def test_quantiles_of_values_are_samples_in_order(values: list[float], missing: int) -> None:
    figures = of_values(np.array([*values, *[np.nan] * missing]))
    assert figures.n == len(values)
    seen = [figures.p50, figures.p90, figures.p99, figures.p999, figures.max]
    assert all(value in values for value in seen)
    assert seen == sorted(seen, key=float)  # type: ignore[arg-type]
    assert figures.max == max(values)


def test_quantiles_of_nothing_are_not_0() -> None:
    figures = of_values(np.array([np.nan]))
    assert (figures.n, figures.p50, figures.p99, figures.max) == (0, None, None, None)


@pytest.mark.parametrize("what", ["lost", "duplicated", "reordered", "misdirected"])
def test_every_kind_of_fault_is_counted_in_the_steady_phase_and_in_the_whole(judge: Judge, records: list[Record], what: str) -> None:
    row = of(records, "broadcasts")[0]
    for n, times in ((5, 3), (100, 4)):  # 5 is warm-up
        row[what][n] += times
        if what == "lost":
            row["delivered"][n] -= times
    made = judge(records).summary.throughput
    assert (getattr(made.steady, what), getattr(made.whole, what)) == (4, 7)
    ratio = made.whole.ratio
    assert ratio is not None
    assert (ratio == 1.0) == (what != "lost")


def test_votes_that_the_target_never_accepted_owe_no_delivery(judge: Judge, records: list[Record]) -> None:
    row, casts = of(records, "broadcasts")[0], of(records, "casts")[0]
    casts["status"][50] = 503
    row["delivered"][50], row["lost"][50] = 0, 60
    made = judge(records).summary.throughput
    assert (made.failed, made.whole.lost, made.whole.broadcasts) == (1, 0, 139)


def test_a_vote_without_an_answer_that_was_broadcast_counts_as_accepted(judge: Judge, records: list[Record]) -> None:
    of(records, "casts")[0]["status"][50] = 0
    made = judge(records).summary.throughput
    assert (made.unanswered, made.accepted, made.whole.broadcasts) == (0, 120, 140)


def test_a_coalesced_vote_is_neither_lost_nor_a_broadcast_of_its_own(judge: Judge, records: list[Record]) -> None:
    row = of(records, "broadcasts")[0]
    for column in row:
        if column not in ("kind", "worker"):
            del row[column][80]
    records.insert(-1, {"kind": "coalesced", "worker": 0, "n": [80], "into": [81]})
    made = judge(records).summary.throughput
    assert (made.coalesced, made.distinct, made.silent, made.unsettled, made.whole.lost) == (1, 119, 0, 0, 0)
    assert made.rate == pytest.approx(119 / 6)


def test_closes_count_by_code_until_the_fleet_is_sent_home(judge: Judge, records: list[Record]) -> None:
    def close(t: float, by: str, code: int) -> Record:
        return {"kind": "closed", "worker": 0, "t": t, "viewer": "w0-1", "code": code, "reason": "x", "by": by}

    records[-1:-1] = [
        close(RECIPE.steady_from, "server", 1006),
        close(RECIPE.steady_from, "server", 1008),
        close(RECIPE.steady_from, "client", 1000),
        close(RECIPE.drained + 0.1, "server", 1001),
    ]
    fleet = judge(records).summary.connections
    assert (fleet.unexpected, fleet.own_closes, fleet.codes, fleet.reasons) == (2, 1, {1006: 1, 1008: 1}, {1006: "x", 1008: "x"})
    assert (fleet.asked, fleet.opened, fleet.peak, fleet.held) == (60, 60, 60, 58)


def test_sockets_that_vanish_without_a_record_are_not_held(judge: Judge, records: list[Record]) -> None:
    second_at(records, RECIPE.steady_from + 3)["open"] = 41
    assert judge(records).summary.connections.held == 41


def test_health_reads_the_steady_phase_only(judge: Judge, records: list[Record]) -> None:
    second_at(records, RECIPE.epoch - 3)["loop_stall"] = 9.0
    second_at(records, RECIPE.steady_from + 2)["loop_stall"] = 0.25
    of(records, "casts")[0]["called"][3] += 9.0  # warm-up
    health = judge(records).summary.health
    assert health.stall == 0.25
    assert health.slip.n == 120
    assert health.slip.max is not None
    assert health.slip.max < 0.01
    assert health.lag.p99 == pytest.approx(0.002, rel=2e-3)
    assert (health.busy_share, health.clock_steps) == (0.0, ())


def test_the_journal_alone_decides(tmp_path: Path, records: list[Record]) -> None:
    first = analyse(write(tmp_path / "a", records))
    text = (tmp_path / "a" / "verdicts.json").read_bytes()
    assert analyse(tmp_path / "a") == first
    assert (tmp_path / "a" / "verdicts.json").read_bytes() == text
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["journal.jsonl", "verdicts.json"]


def test_frames_without_a_vote_are_counted(judge: Judge, records: list[Record]) -> None:
    records.insert(-1, {"kind": "unmatched", "worker": 0, "t": RECIPE.steady_from, "frames": 7, "example": "{}"})
    records.insert(-1, {"kind": "unmatched", "worker": 0, "t": RECIPE.steady_from, "frames": 2, "example": "[]"})
    made = judge(records).summary.throughput
    assert (made.unmatched, made.unmatched_example) == (9, "{}")


def test_nothing_but_a_header_still_has_figures(judge: Judge, records: list[Record]) -> None:
    summary = judge(of(records, "header")).summary
    assert summary.latency.headline.n == summary.throughput.planned == summary.connections.opened == 0
    assert summary.throughput.rate is None


def test_unknown_kinds_and_keys_are_passed_over(judge: Judge, records: list[Record]) -> None:
    plain = judge(records).summary
    records[0]["new"] = {"a": 1}
    of(records, "second")[0]["new"] = 1
    told = judge(events([*records[:1], {"kind": "weather", "t": 1.0}, *records[1:]], "something_new", RECIPE.epoch)).summary
    assert told.benchmarks == plain.benchmarks
    assert told.reasons == ()


def test_a_run_without_seconds_has_no_timing(judge: Judge, records: list[Record]) -> None:
    assert judge(without(records, "second")).summary.latency.headline.n == 0
