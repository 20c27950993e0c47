"""slow.py and judge_slow.py: each fate of one that stopped reading has its verdict, by its own change of one good run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.analysis.slow import SlowStudy
from harness.verdict import Verdict
from schemas import load_contract
from tests.analysis.builder import T0, Recipe, Record, events, good, of, usual
from tests.analysis.conftest import Judge

RECIPE = Recipe()
LIMITS = load_contract().limits
STOPPED = RECIPE.steady_from + 2.0
SILENT_LIMIT = 1.5
BACKLOG = 1000
FRAME = 180  # bytes, of the builder


def _run(records: list[Record], readers: list[dict[str, Any]], backlog: int = BACKLOG) -> list[Record]:
    records[0]["scenario"] = "slow_readers"
    records[0]["judged"] = ["latency", "slow_latency", "slow_memory", "slow_silent", "slow_answering", "connections"]
    records[0]["limits"] = {"heartbeat_interval": 1.0, "heartbeat_timeout": SILENT_LIMIT - 1.0}
    records[0]["parameters"]["backlog"] = backlog
    slow = [{"kind": "slow", "worker": 0, "viewer": f"w0-{n}", "stopped": STOPPED, "how": "", "code": 0, "queued": 0, "unread": 0, **each}
            for n, each in enumerate(readers)]  # fmt: skip
    return [*events(records, "readers_stopped", STOPPED)[:-1], *slow, records[-1]]


def _reader(model: str, after: float | None, **more: Any) -> dict[str, Any]:
    return {"model": model, "cut": None if after is None else STOPPED + after, **more}


GOOD = [_reader("silent", 1.2), _reader("answering", 0.2)]


def test_all_cut_off_in_time_and_nobody_noticed(records: list[Record], judge: Judge) -> None:
    summary = judge(_run(records, GOOD, LIMITS.backlog_bytes)).summary
    assert isinstance(summary.study, SlowStudy)
    assert [reader.after for reader in summary.study.readers] == pytest.approx([1.2, 0.2], abs=1e-6)
    verdicts = {name: summary.benchmark(name).verdict for name in ("slow_silent", "slow_answering", "slow_memory")}
    assert set(verdicts.values()) == {Verdict.PASS}, verdicts
    assert summary.connections.excused == 2


@pytest.mark.parametrize(("more", "verdict"), [(0.0, Verdict.PASS), (0.5, Verdict.WARN)])
def test_the_others_latency_is_compared_with_the_time_before(judge: Judge, more: float, verdict: Verdict) -> None:
    recipe = Recipe(duration=16.0, viewers=20, rate=10.0)
    first_slow = round((recipe.warmup + 8.0) * recipe.rate)
    shifted = replace(recipe, latency=lambda n, rng, viewers: usual(n, rng, viewers) + (more if n >= first_slow else 0.0))
    run = [*_run(good(shifted), GOOD)]
    of(run, "event")[-1]["t"] = shifted.steady_from + 7.9  # readers_stopped
    benchmark = judge(sorted(run, key=lambda record: record["kind"] == "footer")).summary.benchmark("slow_latency")
    assert benchmark.verdict is verdict, benchmark.detail
    assert benchmark.measured == pytest.approx(more, abs=0.03)


def test_what_one_was_due_is_counted_from_the_broadcasts(records: list[Record], judge: Judge) -> None:
    study = judge(_run(records, [_reader("answering", 1.0, queued=300)])).summary.study
    (reader,) = study.readers
    assert reader.written == pytest.approx(RECIPE.rate * 1.0 * FRAME, abs=2 * FRAME)
    assert reader.held == reader.written - 300


@pytest.mark.parametrize(
    ("readers", "name", "verdict"),
    [
        ([_reader("silent", None)], "slow_silent", Verdict.FAIL),
        ([_reader("silent", 3.5)], "slow_silent", Verdict.FAIL),
        ([_reader("silent", 100.0)], "slow_silent", Verdict.INFO),  # had gone when it read again: when, was not seen
        ([_reader("answering", None)], "slow_answering", Verdict.WARN),
        ([_reader("answering", None, queued=10**9)], "slow_answering", Verdict.INFO),  # all of it lay with the kernel
        ([], "slow_silent", Verdict.INCONCLUSIVE),
        ([], "slow_answering", Verdict.INCONCLUSIVE),
        ([], "slow_memory", Verdict.INCONCLUSIVE),
    ],
)
def test_each_fate_has_its_verdict(records: list[Record], judge: Judge, readers: list[dict[str, Any]], name: str, verdict: Verdict) -> None:
    benchmark = judge(_run(records, readers)).summary.benchmark(name)
    assert benchmark.verdict is verdict, benchmark.detail
    assert bool(benchmark.remedy) == (verdict in (Verdict.FAIL, Verdict.WARN))


def test_a_run_too_short_to_reach_the_bound_says_how_long_would_tell(records: list[Record], judge: Judge) -> None:
    detail = judge(_run(records, [_reader("answering", None)], backlog=100_000)).summary.benchmark("slow_answering").detail
    # 125 KB at 20 frames of 180 bytes a second, after 2 s of calm
    assert "3.6 KB a second" in detail
    assert detail.endswith("--duration 40.")


def test_a_phase_too_short_to_see_the_end_of_a_silent_one_is_inconclusive(records: list[Record], judge: Judge) -> None:
    changed = _run(records, [_reader("silent", None)])
    changed[0]["limits"] = {"heartbeat_interval": 30.0, "heartbeat_timeout": 10.0}
    benchmark = judge(changed).summary.benchmark("slow_silent")
    assert benchmark.verdict is Verdict.INCONCLUSIVE
    assert "--duration" in benchmark.remedy


@pytest.mark.parametrize(("grown", "verdict"), [(0, Verdict.PASS), (50_000_000, Verdict.FAIL)])
def test_memory_is_judged_by_what_it_grew(records: list[Record], judge: Judge, grown: int, verdict: Verdict) -> None:
    changed = _run(records, GOOD, LIMITS.backlog_bytes)
    for record in of(changed, "target"):
        if record["t"] > STOPPED + 1:
            record["rss"] += grown
    benchmark = judge(changed).summary.benchmark("slow_memory")
    assert benchmark.verdict is verdict, benchmark.detail
    assert benchmark.measured == pytest.approx(grown / 2, abs=100_000)


def test_without_readings_of_the_process_memory_is_not_testable(records: list[Record], judge: Judge) -> None:
    changed = [record for record in _run(records, GOOD) if record["kind"] != "target"]
    assert judge(changed).summary.benchmark("slow_memory").verdict is Verdict.NOT_TESTABLE


def test_a_run_that_ended_before_anybody_stopped_says_nothing_of_them(records: list[Record], judge: Judge) -> None:
    changed = [record for record in _run(records, []) if record.get("name") != "readers_stopped"]
    summary = judge(changed).summary
    assert summary.study.slow is None
    assert summary.benchmark("slow_latency").verdict is Verdict.INCONCLUSIVE
    assert T0 < STOPPED
