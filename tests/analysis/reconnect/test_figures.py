"""The figures of a cell whose truth is known: who was back when, the herd, the leaks, and the server's own part to the millisecond."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.analysis.reconnect.figures import CellFigures, share_over_time
from harness.analysis.reconnect.summary import StudyAssessment
from tests.analysis.reconnect.builder import RULES, Truth, study
from tests.analysis.reconnect.conftest import Judge


def only(assessment: StudyAssessment) -> CellFigures:
    (figures,) = assessment.evidence.cells
    return figures


def test_a_perfect_server_adds_nothing(judge: Judge) -> None:
    for model in ("contract", "jittered", "sample"):
        figures = only(judge(study(Truth(model=model))))
        assert np.nanmax(np.abs(figures.excess)) == pytest.approx(0.0, abs=1e-5)
        assert figures.to_back == pytest.approx(figures.foretold_to_back, abs=1e-5)


@pytest.mark.parametrize("delay", [0.05, 0.8, 5.0])
def test_what_the_server_adds_is_told_exactly(judge: Judge, delay: float) -> None:
    assessment = judge(study(Truth(delay=delay), Truth(model="jittered", delay=delay)))
    assert assessment.summary.benchmark("server_part").measured == pytest.approx(delay, abs=1e-5)


def test_the_rules_own_times_are_those_of_the_rule(judge: Judge) -> None:
    figures = only(judge(study(Truth(outage=4.0))))
    third = RULES.reconnect_base * (1 + 2 + 4)  # the first attempt after the outage
    assert figures.to_back == pytest.approx((third + 0.001,) * 3, abs=1e-5)
    assert len(figures.attempts) == 3 * 20
    assert figures.waits == pytest.approx(np.full(20, third), abs=1e-5)


def test_a_herd_is_a_wave_in_a_tenth_of_the_first_delay(judge: Judge) -> None:
    once = only(judge(study(Truth())))
    spread = only(judge(study(Truth(model="jittered"))))
    assert once.peak == pytest.approx(20 / (RULES.reconnect_base / 10))
    assert spread.peak < once.peak / 2


def test_leaks_are_sockets_beyond_one_a_client(judge: Judge) -> None:
    figures = only(judge(study(Truth(model="sample"))))
    assert (figures.opened, figures.leaked, figures.given_up) == (80, 60, 0)


def test_who_gave_up_by_rule_is_not_stranded(judge: Judge) -> None:
    figures = only(judge(study(Truth(outage=40.0))))
    assert (figures.given_up, figures.foretold_given_up, figures.stranded) == (20, 20, 0)
    assert figures.to_back == (None, None, None)


def test_who_is_turned_away_is_stranded_and_named_by_the_answer(judge: Judge) -> None:
    figures = only(judge(study(Truth(turned_away=lambda client: client < 3))))
    assert (figures.given_up, figures.stranded) == (3, 3)
    assert figures.to_back[0] is not None
    assert figures.to_back[2] is None
    assert figures.refusals == {"503": 3 * 3}  # the third, fourth and fifth attempt of each


def test_lateness_and_failures_of_our_own_are_kept_apart(judge: Judge) -> None:
    figures = only(judge(study(Truth(late=0.02, own_failures=2))))
    assert figures.late.max == pytest.approx(0.02, abs=1e-5)
    assert figures.own_failures == 2
    assert figures.refusals == {}


def test_the_servers_pulse(judge: Judge) -> None:
    figures = only(judge(study(Truth(queue=123))))
    assert figures.queue == 123
    assert figures.cpu is not None
    assert 0.0 < figures.cpu < 0.2


def test_a_share_counts_all_clients_also_those_who_never_came() -> None:
    at, share = share_over_time(np.array([3.0, math.nan, 1.0, math.nan]), 4)
    assert (at.tolist(), share.tolist()) == ([1.0, 3.0], [0.25, 0.5])
