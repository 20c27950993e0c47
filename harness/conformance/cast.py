"""What was cast and what arrived, as figures: was it fit to judge by, and was everything delivered.

The rule: a vote that was refused, or that we cast late, says nothing about broadcasts; so the schedule, the answers and this machine
are looked at before a break is called the target's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.conformance.crowd import Ended
from harness.conformance.host import HostLoad
from harness.conformance.outcome import Broken, Ending, Inconclusive
from harness.conformance.stage import Stage
from harness.measure.plan import VotePlan

__all__ = ["Cast"]

_REFUSED = 0.01  # of the votes, that may fail
_SLIP = 0.25  # seconds that the schedule may be late, at its 99th percentile
_KEPT_UP = 0.95  # of the rate


@dataclass(frozen=True)
class Cast:
    """What was cast and what arrived. Rows are votes that the target took, columns the sockets of the crowd.

    called, answered: seconds since the epoch; due: the same, by plan. first: seconds from the call to the first arrival, NaN where none
    came. counts: deliveries of each vote to each socket. latency: seconds from the call to the arrival, of every first delivery.
    stamped: seconds from the call to the message's own timestamp, for each vote that arrived, NaN where there is none. batches: frames
    that held several messages. most: by a time in seconds, the most frames that came to one socket within any such time, the first second
    apart. ping_gaps: seconds, on every socket, while votes were cast. lag: the harness's own, seconds, see Crowd.lag.
    """

    rate: float
    seconds: float
    plan: VotePlan
    refused: int
    casts: tuple[int, ...]
    due: NDArray[np.float64]
    called: NDArray[np.float64]
    answered: NDArray[np.float64]
    first: NDArray[np.float64]
    counts: NDArray[np.uint8]
    latency: NDArray[np.float64]
    stamped: NDArray[np.float64]
    batches: int
    most: Mapping[float, int]
    ping_gaps: NDArray[np.float64]
    ended: tuple[Ended, ...]
    lag: float
    host: HostLoad
    problem: str | None

    # ---- was it fit

    @property
    def slip(self) -> float:
        """The 99th percentile of how late our calls were, seconds."""
        return float(np.percentile(self.called - self.due, 99)) if len(self.called) else math.inf

    @property
    def rate_achieved(self) -> float:
        """Votes that the target took, a second."""
        if len(self.called) < 2:
            return 0.0
        return len(self.called) / max(self.seconds, float(self.called.max() - self.called.min()))

    @property
    def answers_in_words(self) -> str:
        """How the calls went."""
        if not len(self.called):
            return f"{self.refused} refused" + (f" ({self.problem})" if self.problem else "")
        half = float(np.median(self.answered - self.called))
        refused = f", {self.refused} refused" + (f" ({self.problem})" if self.problem else "") if self.refused else ""
        return f"{len(self.called)} votes taken, answered in {half * 1000:.0f} ms (median), called {self.slip * 1000:.0f} ms late{refused}"

    def blame_host(self, what: str) -> None:
        """Raise Inconclusive when this machine may be the cause of `what`."""
        problem = self.host.problem
        if problem is not None:
            raise Inconclusive(f"{what}, but {problem}: run this again on a quiet machine, or with the target on another")

    def blame_stall(self, what: str, seconds: float) -> None:
        """Raise Inconclusive when this machine stood still for longer than `seconds`, which may be the cause of `what`."""
        problem = self.host.stalled(seconds)
        if problem is not None:
            raise Inconclusive(f"{what}, but {problem}: run this again on a quiet machine, or with the target on another")

    def must_be_fit(self) -> None:
        """Raise Inconclusive when too few votes were cast, or too late, to judge what became of them."""
        if not len(self.called):
            raise Inconclusive(f"no vote was taken: {self.answers_in_words}")
        if self.refused > _REFUSED * (len(self.called) + self.refused):
            raise Inconclusive(f"the target did not take the votes: {self.answers_in_words}")
        if self.slip > _SLIP and self.host.problem is not None:
            raise Inconclusive(f"the votes went out {self.slip:.2f} s late, and {self.host.problem}")

    def well(self, stage: Stage) -> bool:
        """Whether all went as it should."""
        late = len(self.latency) and float(self.latency.max()) >= stage.contract.benchmark.latency
        gaps = stage.window(stage.limits.heartbeat_interval)
        notes = len(stage.notes)
        try:
            self.must_be_whole(stage)
        except Ending:
            return False
        finally:
            del stage.notes[notes:]
        return not late and all(float(gap) in gaps for gap in self.ping_gaps)

    # ---- what it shows

    def alone(self, bad: NDArray[np.bool_], soon: float) -> int:
        """How many of the votes that are `bad` have neighbours on both sides that were told of within `soon` seconds.

        What a starved machine does to one vote it does to its neighbours, so these are the target's.
        """
        well = np.where(np.isnan(self.first) | bad, np.inf, self.first)
        before, after = _nearest(well), _nearest(well[::-1])[::-1]
        return int((bad & (before < soon) & (after < soon)).sum())

    @property
    def missing(self) -> int:
        """Deliveries that did not come."""
        return int((self.counts == 0).sum())

    def must_be_whole(self, stage: Stage) -> None:
        """Broken unless the rate was kept and each vote reached each socket in a message of its own."""
        shape = stage.reading("batch_shape")
        self.must_be_fit()
        stage.note(self.answers_in_words)
        votes, sockets = self.counts.shape
        if self.ended:
            first = self.ended[0]
            text = f"{len(self.ended)} of {sockets} sockets were closed, the first with {first.code} {first.reason}".strip()
            self.blame_stall(text, stage.limits.heartbeat_timeout / 4)
            raise Broken(f"all sockets open at {self.rate:g} broadcasts a second", text)
        if self.rate_achieved < _KEPT_UP * self.rate:
            self.blame_host(f"only {self.rate_achieved:.0f} votes a second got through")
            raise Broken(f"{self.rate:g} votes a second to be taken", f"{self.rate_achieved:.0f}: {self.answers_in_words}")
        untold = self.counts.max(axis=1) == 0
        nowhere = int(untold.sum())
        partly = self.missing - nowhere * sockets
        if partly:
            share = f"{partly} of {votes * sockets} deliveries are missing, of votes that other sockets were told of"
            raise Broken(f"each of {votes} votes delivered to each of {sockets} sockets", share)
        if nowhere:
            lost = self.alone(untold, self.plan.feature_period / 2)
            if lost:
                raise Broken("each vote broadcast", f"{lost} of {votes} votes had no message, while those before and after them had theirs")
            text = f"{nowhere} of {votes} votes had no message of their own: merged into others, or lost"
            self.blame_host(text)
            raise Broken("each vote broadcast by itself", text)
        if self.batches and shape in ("coalesce", "frames"):
            self.blame_host(f"{self.batches} frames held several messages")
            raise Broken("one message a frame, for the limit was not exceeded", f"{self.batches} frames held several")


def _nearest(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each place the last finite value before it; infinite where there is none."""
    at = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), -1))
    before = np.concatenate(([-1], at[:-1]))
    return np.where(before >= 0, values[before], np.inf)
