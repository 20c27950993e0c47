"""The rate models and the tally of votes, with time as an argument."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.other_server.rates import Allowance, Temper
from tests.other_server.votes import Tally, Vote, seen

MODELS = st.sampled_from(["sliding", "fixed", "bucket"])
GAPS = st.lists(st.floats(0, 3), max_size=80)


@given(MODELS, st.integers(1, 12), st.floats(0.5, 20), GAPS)
def test_what_holds_in_every_model(model: str, most: int, window: float, gaps: list[float]) -> None:
    """After any past and a silent window: a whole allowance passes at once, and one more does not."""
    now, allowance = 1000.0, Allowance(model, most, window)
    passed = []
    for gap in gaps:
        now += gap
        if allowance.take(now):
            passed.append(now)
    # No model lets twice the allowance pass within less than a window.
    assert all(later - first >= window * 0.999 for first, later in zip(passed, passed[2 * most :], strict=False))
    now += window * 1.001
    assert [allowance.take(now) for _ in range(most + 1)] == [True] * most + [False]


def test_the_models_differ() -> None:
    """Ten at 0 s and ten at 9.5 s, 10.5 s after a start: what tells the models apart."""
    passed = {}
    for model in ("sliding", "fixed", "bucket"):
        allowance = Allowance(model, 10, 10.0)
        allowance.take(1000.0)
        passed[model] = [sum(allowance.take(at) for _ in range(10)) for at in (1009.5, 1010.5)]
    assert passed == {"sliding": [9, 1], "fixed": [9, 10], "bucket": [10, 1]}


def test_abuse_ends_it_and_a_slip_does_not() -> None:
    """Three times the allowance in each window ends it within five windows, in bursts and spread out; now and then one more does not."""
    for spread in (0.0, 10 / 20):
        temper, over = Temper(10, 10.0, 5), []
        for window in range(5):
            over += [temper.refused(1000.0 + 10 * window + spread * n)[1] for n in range(20)]
        assert over[-1]
        assert not any(over[:40])
    temper = Temper(10, 10.0, 5)
    assert [temper.refused(1000.0 + at)[0] for at in (0.0, 0.1, 9.0, 30.0)] == [True, False, False, True]
    slips = Temper(10, 10.0, 5)
    assert not any(slips.refused(1000.0 + 20 * n + k)[1] for n in range(50) for k in (0.0, 0.1))


VOTES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=120)


@given(VOTES, st.booleans(), st.lists(st.integers(0, 40), min_size=1, max_size=10))
def test_the_tally_keeps_the_rate_and_loses_no_last_vote(ballots: list[tuple[int, int]], merge: bool, cuts: list[int]) -> None:
    tally = Tally(100, merge=merge, single_frame=False)
    now, sent = 50.0, list[int]()
    told, last = dict[str, int](), dict[str, int]()
    queue = [Vote(str(item), number, str(voter), str(voter), True, float(number)) for number, (item, voter) in enumerate(ballots)]
    while queue or tally.waiting:
        cut = cuts[len(sent) % len(cuts)] or 1
        for vote in queue[:cut]:
            last[vote.item] = vote.votes
            tally.waiting.append(vote)
        queue = queue[cut:]
        now += 0.1
        groups = tally.take(now)
        sent.append(len(groups))
        for group in groups:
            assert len({vote.item for vote in group}) == 1
            assert all(a.votes < b.votes for a, b in pairwise(group))
            shown = seen(group, lambda vote: True)
            assert shown is not None
            told[shown[0].item] = shown[1]
    assert told == last
    assert all(count <= 20 for count in sent)
    assert sum(sent) <= 20 + 10 * len(sent)


def test_who_is_left_out_sees_the_part_of_others_with_the_final_count() -> None:
    votes = [Vote("i", 1, "a", "a", True, 0.0), Vote("i", 2, "b", "b", True, 0.1)]
    assert seen(votes, lambda vote: vote.uid != "b") == (votes[0], 2)
    assert seen(votes[:1], lambda vote: vote.uid != "a") is None
