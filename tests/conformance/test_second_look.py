"""A machine that is short of processors: what seems broken then is tried once more, and nothing else changes."""

from __future__ import annotations

import dataclasses
import time

import pytest

import harness.conformance.conductor as conducting
from harness.conformance.client_side import BY_HAND
from harness.conformance.conductor import Check, Conductor
from harness.conformance.ground import Ground, Options
from harness.conformance.nobody import nobody
from harness.conformance.outcome import Broken, Inconclusive
from harness.conformance.pressure import Mark, mark, pressed
from harness.conformance.records import CheckRecord, Recorder
from harness.conformance.stage import Stage
from harness.verdict import Verdict
from schemas import load_clauses

BUSY = "threads waited for a processor for 80% of the time"


def judged(endings: list[Exception | None], *, confirm: bool = True) -> tuple[CheckRecord, int, bool]:
    """The record of a check that ends in these ways, one after the other; how often it ran; whether each time on a stage of its own."""
    stages: list[Stage] = []

    def check(stage: Stage) -> None:
        stages.append(stage)
        ending = endings[len(stages) - 1]
        if ending is not None:
            raise ending

    conductor = Conductor(Ground(nobody(), Options(client=BY_HAND, confirm=confirm)), Recorder(None, ""), "", time.time())
    each = Check("t::check", load_clauses()["CLI-01"], lambda _: 0.0, "", False, (), check, __file__)
    record = conductor.run(each, {"stage": conductor.stage(each)})
    conductor.ground.close()
    assert all(stage.closed for stage in stages)
    return record, len(stages), len(set(map(id, stages))) == len(stages)


def test_on_a_quiet_machine_one_look_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conducting, "pressed", lambda _: None)
    record, looks, _ = judged([Broken("this", "that")])
    assert (record.verdict, looks) == (Verdict.FAIL, 1)


@pytest.mark.parametrize(
    ("second", "verdict"), [(None, Verdict.PASS), (Broken("this", "that again"), Verdict.FAIL), (Inconclusive("x"), Verdict.INCONCLUSIVE)]
)
def test_on_a_busy_one_the_second_look_counts(monkeypatch: pytest.MonkeyPatch, second: Exception | None, verdict: Verdict) -> None:
    monkeypatch.setattr(conducting, "pressed", lambda _: BUSY)
    record, looks, apart = judged([Broken("this", "that"), second])
    assert (record.verdict, looks, apart) == (verdict, 2, True)
    if second is None:
        assert BUSY in record.reason
    assert record.observed == ("that again" if verdict is Verdict.FAIL else "")


def test_what_could_not_be_judged_is_tried_again_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conducting, "pressed", lambda _: BUSY)
    assert judged([Inconclusive("votes never met"), None])[0].verdict is Verdict.PASS
    assert judged([Inconclusive("votes never met"), Broken("this", "that")])[0].verdict is Verdict.FAIL


def test_what_is_kept_is_not_looked_at_again_and_nothing_is_when_nobody_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conducting, "pressed", lambda _: BUSY)
    assert judged([None])[1] == 1
    record, looks, _ = judged([Broken("this", "that")], confirm=False)
    assert (record.verdict, looks) == (Verdict.FAIL, 1)


def test_pressure_is_told_by_the_share_of_the_time() -> None:
    now = mark()
    long_ago = dataclasses.replace(now, at=now.at - 1000.0)
    if now.waited is not None:
        assert pressed(long_ago) is None
        told = pressed(dataclasses.replace(long_ago, waited=now.waited - 900.0))
        assert told is not None
        assert "threads waited" in told
    uncounted = Mark(now.at - 1000.0, None, now.busy - 1990.0, now.total - 2000.0)
    told = pressed(uncounted)
    assert told is not None
    assert "processors were in use" in told
    assert pressed(dataclasses.replace(uncounted, busy=now.busy - 500.0)) is None
