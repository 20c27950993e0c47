"""Who votes on what, when: a pure function of the cast's number, so every worker knows every cast without being told.

A cycle is one cast on each feature, in an order drawn once from the seed; hence two votes on one feature are always
exactly features/rate seconds apart, and no broadcast window of the target can merge them. The voter moves on by one
each cycle, and a voter's votes on one feature go add, remove, add ...
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.measure.pacer import share

__all__ = ["Action", "Cast", "Plan", "StairPlan", "VotePlan"]

Action = Literal["add", "remove"]

_ACTIONS: tuple[Action, Action] = ("add", "remove")


@dataclass(frozen=True, slots=True)
class Cast:
    """One planned vote: its number in the plan, the feature's id, the voter's user id, and what it does."""

    n: int
    feature: str
    voter: str
    action: Action


class Plan(Protocol):
    """What the conductor, the ledger and whoever casts need of any plan. Casts are numbered in the order in which they are due."""

    @property
    def warmup(self) -> float: ...
    @property
    def duration(self) -> float: ...
    @property
    def uneven(self) -> bool:
        """Whether the casts are not simply so many a second."""

    @property
    def says(self) -> str:
        """What is planned, in a few words."""

    @property
    def count(self) -> int: ...
    @property
    def steady_from(self) -> int: ...
    def offset(self, n: int) -> float:
        """The planned time of cast n, or with n = count the end of the plan, seconds after its epoch."""

    def offsets(self, n: NDArray[np.int64]) -> NDArray[np.float64]:
        """The same of many casts."""

    def due_by(self, offset: float) -> int:
        """How many casts are due at that time or before it."""

    def share(self, worker: int, workers: int) -> Sequence[int]:
        """The casts that fall to one of so many processes."""

    def parts(self) -> dict[str, Any]:
        """What the plan is made of, as JSON has it: whoever is told of it makes the same plan."""


@dataclass(frozen=True, slots=True)
class VotePlan:
    """All casts of a run. rate: casts per second; duration (steady phase) and warmup: seconds.

    Raises UsageError when the parts cannot make a plan. With a single voter every cycle is theirs; with more, two cycles
    in a row never share a feature's voter.
    """

    features: tuple[str, ...]
    voters: tuple[str, ...]
    rate: float
    duration: float
    warmup: float
    seed: int
    _order: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _slots: dict[str, int] = field(init=False, repr=False, compare=False)
    _seats: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, ids in (("features", self.features), ("voters", self.voters)):
            if not ids or len(set(ids)) != len(ids):
                what = f"{len(ids)} {name}, {len(set(ids))} of them different"
                raise UsageError(what, "vote plan", f"give at least one of the {name}, and none twice")
        for name, value, fits in (
            ("rate", self.rate, self.rate > 0),
            ("duration", self.duration, self.duration > 0),
            ("warmup", self.warmup, self.warmup >= 0),
        ):
            if not (fits and math.isfinite(value)):
                raise UsageError(f"{name} is {value}", "vote plan", "give a rate and a duration above 0, a warmup of 0 or more")
        if self.steady_from >= self.count:
            what = f"{self.duration:g} s at {self.rate:g} votes/s hold not one cast"
            raise UsageError(what, "vote plan", "give a longer duration or a higher rate: nothing is judged on no evidence")
        order = tuple(random.Random(self.seed).sample(self.features, len(self.features)))
        object.__setattr__(self, "_order", order)
        object.__setattr__(self, "_slots", {feature: slot for slot, feature in enumerate(order)})
        object.__setattr__(self, "_seats", {voter: seat for seat, voter in enumerate(self.voters)})

    @classmethod
    def of(cls, parts: Mapping[str, Any]) -> Self:
        """The plan of which these are the parts."""
        whole: dict[str, Any] = {name: tuple(value) if isinstance(value, list | tuple) else value for name, value in parts.items()}
        return cls(**whole)

    def parts(self) -> dict[str, Any]:
        """See Plan."""
        return {name: getattr(self, name) for name in ("features", "voters", "rate", "duration", "warmup", "seed")}

    @property
    def uneven(self) -> bool:
        """They come at one rate."""
        return False

    @property
    def says(self) -> str:
        """See Plan."""
        return f"{self.rate:g} votes a second"

    @property
    def count(self) -> int:
        """How many casts there are: numbers 0 to count - 1, warm-up included."""
        return round((self.warmup + self.duration) * self.rate)

    @property
    def steady_from(self) -> int:
        """The first cast of the steady phase; those before it warm the target up and are not judged."""
        # Rounded first, so that 1.1 s at 50/s (55.00000000000001 in floats) is 55 casts and not 56.
        return min(math.ceil(round(self.warmup * self.rate, 6)), self.count)

    @property
    def feature_period(self) -> float:
        """Seconds between two votes on one feature."""
        return len(self.features) / self.rate

    @property
    def pair_period(self) -> float:
        """Seconds between two votes of one voter on one feature."""
        return len(self.features) * len(self.voters) / self.rate

    def offset(self, n: int) -> float:
        """The planned time of cast n, seconds after the plan's epoch."""
        return n / self.rate

    def position(self, offset: float) -> float:
        """The number (with a fraction) that would be due then: the reverse of `offset`."""
        return offset * self.rate

    def offsets(self, n: NDArray[np.int64]) -> NDArray[np.float64]:
        """See Plan."""
        return n / self.rate

    def due_by(self, offset: float) -> int:
        """See Plan."""
        return min(int(self.position(offset)) + 1, self.count) if offset >= 0 else 0

    def share(self, worker: int, workers: int) -> Sequence[int]:
        """Every so manieth cast."""
        return share(self.count, worker, workers)

    def cast(self, n: int) -> Cast:
        """Cast number n. Raises IndexError outside 0 .. count - 1."""
        if not 0 <= n < self.count:
            raise IndexError(f"cast {n}: the plan has casts 0 to {self.count - 1}")
        cycle, slot = divmod(n, len(self._order))
        turn, _ = divmod(cycle, len(self.voters))
        return Cast(n, self._order[slot], self.voters[(cycle + slot) % len(self.voters)], _ACTIONS[turn % 2])

    def occurrences(self, feature: str, voter: str) -> range:
        """The numbers of this voter's casts on this feature, in order: add, remove, add ... Empty when either is unknown."""
        slot, seat = self._slots.get(feature), self._seats.get(voter)
        if slot is None or seat is None:
            return range(0)
        width, voters = len(self._order), len(self.voters)
        first_cycle = (seat - slot) % voters
        return range(first_cycle * width + slot, self.count, voters * width)

    def find(self, feature: str, voter: str, action: str, near_offset: float) -> int | None:
        """The cast of that feature, voter and action planned nearest to `near_offset` (seconds from the epoch), or None.

        Right as long as the time seen is within one `pair_period` of the plan: a pair repeats an action every two.
        """
        if action not in _ACTIONS:
            return None
        casts = self.occurrences(feature, voter)[_ACTIONS.index(action) :: 2]
        if not casts:
            return None
        return casts[_clamp(round((self.position(near_offset) - casts.start) / casts.step), len(casts))]

    def by_feature(self, feature: str, offset: float, early: float = 0.01) -> int | None:
        """The latest cast on the feature planned at or before `offset`, for a target that does not name the voter.

        A broadcast follows its cast, so this is right up to one `feature_period` of delay. `early` (seconds) forgives a
        stamp cut to milliseconds or a clock slightly behind. None when the feature is unknown or has no cast that early.
        """
        slot = self._slots.get(feature)
        if slot is None:
            return None
        casts = range(slot, self.count, len(self._order))
        index = math.floor(round((self.position(offset + early) - slot) / len(self._order), 6))
        return casts[min(index, len(casts) - 1)] if casts and index >= 0 else None

    def check(self, batch_window: float) -> None:
        """Raise UsageError unless votes on one feature are more than two batch windows (seconds) apart.

        Closer ones a target may rightly merge into one broadcast, and then no delivery could be told from a loss.
        """
        needed = math.floor(round(2 * batch_window * self.rate, 6)) + 1
        if len(self.features) < needed:
            what = (
                f"{len(self.features)} features at {self.rate:g} votes/s are each voted on every {self.feature_period:g} s, "
                f"within two batch windows of {batch_window:g} s"
            )
            raise UsageError(what, "vote plan", f"use at least {needed} features, or a lower rate")


@dataclass(frozen=True, slots=True)
class StairPlan(VotePlan):
    """Casts at one rate after the other. stairs: (seconds, rate) of each step of the steady phase, whose length is their sum; the warm-up
    has the rate of the first, and `rate` is the highest."""

    stairs: tuple[tuple[float, float], ...]
    _times: tuple[float, ...] = field(init=False, repr=False, compare=False)
    _numbers: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        steps = [(float(seconds), float(rate)) for seconds, rate in self.stairs]
        wrong = not steps or any(seconds <= 0 or not 0 < rate <= self.rate for seconds, rate in steps)
        if wrong or abs(sum(seconds for seconds, _ in steps) - self.duration) > 1e-6:
            what = f"the steps are {steps} (seconds, rate), the length is {self.duration:g} s and the highest rate {self.rate:g}"
            raise UsageError(what, "vote plan", "give steps with a length and a rate above 0, which together are as long as the plan")
        times, numbers = [0.0], [0.0]
        for seconds, rate in [*([(self.warmup, steps[0][1])] if self.warmup else []), *steps]:
            times.append(times[-1] + seconds)
            numbers.append(numbers[-1] + seconds * rate)
        object.__setattr__(self, "stairs", tuple(steps))
        object.__setattr__(self, "_times", tuple(times))
        object.__setattr__(self, "_numbers", tuple(numbers))
        VotePlan.__post_init__(self)

    def parts(self) -> dict[str, Any]:
        """See Plan."""
        return {**VotePlan.parts(self), "stairs": [list(step) for step in self.stairs]}

    @property
    def uneven(self) -> bool:
        """Their rate changes."""
        return True

    @property
    def says(self) -> str:
        """See Plan."""
        rates = [rate for _, rate in self.stairs]
        return f"{min(rates):g} to {max(rates):g} votes a second" if len(set(rates)) > 1 else f"{rates[0]:g} votes a second"

    @property
    def count(self) -> int:
        """See VotePlan."""
        return round(round(self._numbers[-1], 6))  # a sum of floats: what is half a cast must not hang on its last digit

    @property
    def steady_from(self) -> int:
        """See VotePlan."""
        return min(math.ceil(round(self.warmup * self.stairs[0][1], 6)), self.count)

    def offset(self, n: int) -> float:
        """See VotePlan."""
        return float(np.interp(n, self._numbers, self._times))

    def offsets(self, n: NDArray[np.int64]) -> NDArray[np.float64]:
        """See Plan."""
        return np.interp(n, self._numbers, self._times)

    def position(self, offset: float) -> float:
        """See VotePlan."""
        return float(np.interp(offset, self._times, self._numbers))


def _clamp(index: int, length: int) -> int:
    return min(max(index, 0), length - 1)
