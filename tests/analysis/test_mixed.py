"""mixed.py and judge_mixed.py: each message type is summed up by itself, and each way of telling the wrong people has its verdict."""

from __future__ import annotations

from typing import Any

import pytest

from harness.analysis.mixed import MixedStudy, steps_by_second
from harness.analysis.run import load_run
from harness.analysis.summary import Summary
from harness.measure.histogram import Histogram
from harness.verdict import Verdict
from tests.analysis.builder import Recipe, Record, events, good, of, write
from tests.analysis.conftest import Judge

RECIPE = Recipe()
_WHAT = ("add", "remove", "update", "add", "create", "delete")
_JUDGED = ("mixed_latency", "mixed_visits", "mixed_own", "mixed_role", "mixed_filter", "mixed_back", "mixed_errors", "delivery")
_CASTS = round((RECIPE.warmup + RECIPE.duration) * RECIPE.rate)
_CLEAN = {"own_of": 3, "role_of": 4, "other_of": 50, "back_of": 10, "own": 0, "role": 0, "other": 0, "back": 10}


def _what(n: int) -> str:
    return _WHAT[n % len(_WHAT)]


def _day(**aside: int) -> list[Record]:
    """A good run as a day: six kinds of deeds in turn, sixty visits, and one record of what reached whom."""
    records = good(RECIPE)
    records[0] |= {"scenario": "mixed", "judged": list(_JUDGED)}
    (casts,) = of(records, "casts")
    casts |= {"what": [_what(n) for n in range(_CASTS)], "about": [n % len(_WHAT) for n in range(_CASTS)]}
    for record in of(records, "event"):
        if record["name"] == "cast_started":
            record["detail"] |= {"first": round(RECIPE.warmup * RECIPE.rate), "planned": _CASTS}
    for record in of(records, "second"):
        record["latency_types"] = {"VOTE_UPDATE": record["latency"], "FEATURE_UPDATE": record["latency"]}
    more: list[Record] = [{"kind": "aside", "worker": 0, "n": 1, "what": "add", **_CLEAN, **aside}]
    steps = [("come", 0), ("view", 1), ("back", -1), ("view", 1), ("go", -1), ("vanish", 0)]
    more += [{"kind": "step", "worker": 0, "t": RECIPE.epoch + n, "step": step, "looking": by} for n, (step, by) in enumerate(steps)]
    records = events(records, "sockets", RECIPE.epoch - 5.0, planned=60)
    return [*records[:-1], *more, records[-1]]


def _verdict(summary: Summary, name: str) -> Verdict:
    return summary.benchmark(name).verdict


def test_a_good_day(judge: Judge) -> None:
    summary = judge(_day()).summary
    assert not summary.reasons
    study = summary.study
    assert isinstance(study, MixedStudy)
    assert {name: _verdict(summary, name) for name in _JUDGED} == {
        **dict.fromkeys(_JUDGED, Verdict.PASS), "mixed_back": Verdict.INFO,
    }  # fmt: skip
    kinds = {kind.name: kind for kind in study.kinds}
    expected = {
        "VOTE_UPDATE": sum(_what(n) in ("add", "remove") for n in range(_CASTS)),
        **{name: sum(_what(n) == what for n in range(_CASTS)) for what, name in
           (("update", "FEATURE_UPDATE"), ("create", "FEATURE_CREATED"), ("delete", "FEATURE_DELETED"))},
    }  # fmt: skip
    assert {name: kind.account.broadcasts for name, kind in kinds.items()} == expected
    assert {name: kind.calls for name, kind in kinds.items()} == expected
    assert all(kind.account.expected == kind.account.broadcasts * RECIPE.viewers for kind in kinds.values())
    assert kinds["VOTE_UPDATE"].latency.n == kinds["FEATURE_UPDATE"].latency.n > 0
    assert kinds["FEATURE_CREATED"].latency.n == 0
    assert "Nobody who could be timed was owed FEATURE_CREATED, FEATURE_DELETED." in summary.benchmark("mixed_latency").detail
    assert (study.visits.come, study.visits.view, study.visits.vanish, study.visits.planned) == (1, 2, 1, 60)
    assert summary.throughput.planned == _CASTS - round(RECIPE.warmup * RECIPE.rate)


@pytest.mark.parametrize(
    ("aside", "name", "verdict"),
    [
        ({"own": 1}, "mixed_own", Verdict.FAIL),
        ({"own_of": 0}, "mixed_own", Verdict.INCONCLUSIVE),
        ({"role": 1}, "mixed_role", Verdict.FAIL),
        ({"role_of": 0}, "mixed_role", Verdict.INCONCLUSIVE),
        ({"other": 1}, "mixed_filter", Verdict.WARN),
        ({"other_of": 0}, "mixed_filter", Verdict.INCONCLUSIVE),
        ({"back": 0}, "mixed_back", Verdict.INFO),
        ({"back": 5}, "mixed_back", Verdict.WARN),
        ({"back": 0, "back_of": 0}, "mixed_back", Verdict.INCONCLUSIVE),
    ],
)
def test_what_reached_whom_has_its_verdict(judge: Judge, aside: dict[str, int], name: str, verdict: Verdict) -> None:
    summary = judge(_day(**aside)).summary
    assert _verdict(summary, name) is verdict, summary.benchmark(name).detail
    assert bool(summary.benchmark(name).remedy) == (verdict in (Verdict.FAIL, Verdict.WARN))
    others = {other for other in _JUDGED if other != name}
    assert {_verdict(summary, other) for other in others} <= {Verdict.PASS, Verdict.INFO}


def test_the_slowest_type_is_named(judge: Judge) -> None:
    records = _day()
    slow = Histogram()
    slow.record([4_000_000] * 50)
    for record in of(records, "second"):
        record["latency_types"]["FEATURE_UPDATE"] = slow.encode()
    benchmark = judge(records).summary.benchmark("mixed_latency")
    assert benchmark.verdict is Verdict.FAIL
    assert benchmark.measured == pytest.approx(4.0, rel=0.01)
    assert "FEATURE_UPDATE, the slowest type" in benchmark.detail


def test_a_deed_that_could_not_be_made_is_owed_to_nobody(judge: Judge) -> None:
    records = _day()
    n = next(n for n in range(30, _CASTS) if _what(n) == "delete")
    (casts,), (rows,) = of(records, "casts"), of(records, "broadcasts")
    casts["called"][n] = casts["answered"][n] = None
    casts["status"][n] = 0
    rows["delivered"][n], rows["lost"][n] = 0, RECIPE.viewers
    rows["first"][n] = rows["last"][n] = rows["stamped"][n] = None
    summary = judge(records).summary
    assert summary.throughput.whole.lost == 0
    assert _verdict(summary, "delivery") is Verdict.PASS


def test_errors_to_clients_that_keep_the_rules_are_quoted(judge: Judge) -> None:
    records = _day()
    of(records, "second")[3]["types"]["ERROR"] = 2
    told = '{"type":"ERROR","code":"RATE_LIMIT_EXCEEDED"}'
    summary = judge([*records[:-1], {"kind": "error", "worker": 0, "t": RECIPE.epoch, "example": told}, records[-1]]).summary
    assert _verdict(summary, "mixed_errors") is Verdict.FAIL
    assert told in summary.benchmark("mixed_errors").detail


@pytest.mark.parametrize(("viewers", "verdict"), [(60, Verdict.FAIL), (1001, Verdict.INFO)])
def test_visitors_who_are_turned_away(judge: Judge, viewers: int, verdict: Verdict) -> None:
    records = _day()
    records[0]["parameters"]["viewers"] = viewers
    turned = {"kind": "step", "worker": 0, "t": RECIPE.epoch + 2, "step": "refused", "looking": 0}
    summary = judge([*records[:-1], turned, records[-1]]).summary
    assert _verdict(summary, "mixed_visits") is verdict
    assert "1 of 2 visitors" in summary.benchmark("mixed_visits").detail


def test_steps_are_counted_by_the_second(tmp_path: Any) -> None:
    frame = steps_by_second(load_run(write(tmp_path / "run", _day())), RECIPE.epoch)
    assert frame["at"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert frame["looking"].cumsum().tolist() == [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]
    assert frame["come"].tolist() == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert frame["refused"].sum() == 0.0
