"""Section RATE, how much all are told: the limit on broadcasts (contract lines 391-394 and 441-443).

The rule here: a limiter may begin with a whole allowance in hand, or in the last moment of a clock's second, so what came within the
first second of the votes is not counted.
"""

from __future__ import annotations

from harness.conformance import Broken, Inconclusive, Stage, clause
from harness.conformance.casting import Cast, cast, small_crowd, undisturbed, wrong_counts
from schemas import Limits

_TRIES = 3
_JUST_BELOW, _FAR_ABOVE = 0.9, 3.0  # times the limit of all: RATE-15 and RATE-16
_EXCEEDS = 1.5  # times the limit that we must have reached at least for it to be seen
_A_LITTLE_MORE = {2.0: 1.2, 1.0: 1.5}  # by seconds, times the limit of all: what a stalled server sends late comes in a bunch


def _near_the_limit(limits: Limits) -> float:
    return 1.7 + limits.heartbeat_interval / 10


@clause("RATE-15", alone="load", waits=_near_the_limit)
def test_below_the_global_limit(stage: Stage) -> None:
    """Just below the limit of all, each broadcast is delivered by itself and none is lost."""

    def measure() -> Cast:
        with small_crowd(stage) as crowd:
            return cast(stage, crowd, _JUST_BELOW * stage.limits.broadcasts_per_second, _near_the_limit(stage.limits))

    undisturbed(stage, measure).must_be_whole(stage)


@clause("RATE-16", alone="load", waits=_near_the_limit)
def test_above_the_global_limit(stage: Stage) -> None:
    """Far above it no socket is told more than the limit in a second, and what it is told last is right."""
    for _ in range(_TRIES):
        with small_crowd(stage) as crowd:
            seen = cast(stage, crowd, _FAR_ABOVE * stage.limits.broadcasts_per_second, _near_the_limit(stage.limits), apart=0.0)
            wrong = wrong_counts(stage, crowd, seen)
        found = _exceeded(stage, seen)
        if found is None or seen.host.problem is None:
            break
    stage.note(f"at {seen.rate_achieved:.0f} votes a second at most {seen.most[1.0]} broadcasts came within 1 s")
    if found is not None:
        seen.blame_host(found.observed)
        raise found
    if wrong is not None:
        raise Broken("the last voteCount of each feature to be the true one", wrong)
    limit = stage.limits.broadcasts_per_second
    if seen.rate_achieved < _EXCEEDS * limit:
        raise Inconclusive(f"only {seen.rate_achieved:.0f} votes a second were taken, too few to exceed {limit}: {seen.answers_in_words}")


def _exceeded(stage: Stage, seen: Cast) -> Broken | None:
    limit = stage.limits.broadcasts_per_second
    for seconds, times in _A_LITTLE_MORE.items():
        if seen.most[seconds] > (allowed := times * seconds * limit):
            what = f"at most {limit} broadcasts a second on a socket (accepted: {allowed:.0f} within {seconds:g} s)"
            return Broken(what, f"{seen.most[seconds]} within {seconds:g} s, at {seen.rate_achieved:.0f} votes a second")
    return None
