"""What is played to a client under test, and what its attempts to come back say. The scenes change nothing but the server.

While attempts are refused each is held for a moment first. A client that follows the contract has one socket, or one timer, at
any time: so a second attempt that arrives while the first is held was scheduled by the same failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.conformance.client_side.counterpart import OPEN, Attempt, Door
from harness.conformance.client_side.play import Play
from harness.conformance.client_side.under_test import ClientUnderTest
from harness.conformance.outcome import Inconclusive

if TYPE_CHECKING:
    from harness.conformance.stage import Stage

__all__ = ["Down", "Recovered", "calibrated", "delays", "down", "in_the_air", "misfit", "recovered"]

_HOLD = 0.25  # seconds that a refusal takes at least: far more than two timers of one client lie apart
_SETTLE = 0.75  # seconds at least in which a client that came back shows how many sockets it has
_SUBSCRIBES = 2.0  # seconds in which a client subscribes that was told to
_EARLY = 0.02  # seconds by which a timer may fire before its time, and twentieths of the delay besides
_JITTER = 0.5  # of a delay, either way: the contract advises jitter and does not say how much
_MORE = 2  # attempts beyond the contract's, after which a client is not waited for
_STEPS = 200


@dataclass(frozen=True)
class Down:
    """A connection was lost and nobody was let in again, until the client gave up or had tried too often."""

    play: Play
    lost_at: float
    attempts: tuple[Attempt, ...]
    """After the loss."""
    cut_short: bool
    """It had tried so often that no end was waited for."""


@dataclass(frozen=True)
class Recovered:
    """A connection was lost, attempts were refused, one was let in, and then all was lost again for good."""

    play: Play
    first: Attempt
    back: tuple[Attempt, ...]
    """Every connection that was open at once when the client had come back."""
    refused: int
    """Attempts before that."""
    again: Down


def down(stage: Stage) -> Down:
    """Played once a run. Raises Inconclusive when the client opens no connection to begin with."""
    return stage.once("client: down", lambda: _down(stage))  # type: ignore[no-any-return]


def _down(stage: Stage) -> Down:
    with stage.play("loss", shared=True) as play:
        first = play.first()
        return _lost(stage, play, [first], reset=False)


def recovered(stage: Stage) -> Recovered:
    """Played once a run. Raises Inconclusive when the client opens no connection, or does not try often enough to be let in."""
    return stage.once("client: recovered", lambda: _recovered(stage))  # type: ignore[no-any-return]


def _recovered(stage: Stage) -> Recovered:
    client = stage.client
    refused = client.rules.reconnect_attempts - 2
    with stage.play("loss and recovery", shared=True) as play:
        first = play.first()
        play.tell("subscribe feature-of-the-check", "open one feature, if your client can watch a single one")
        play.server.wait(lambda: first.received("SUBSCRIBE"), _SUBSCRIBES)
        closed = _closed(client)
        play.set_door(lambda attempt: OPEN if attempt.number > first.number + refused else closed(attempt))
        first.cut(reset=True)
        number = first.number
        while number <= first.number + refused and (attempt := play.next_attempt(number, stage.within(client.latest))) is not None:
            number = attempt.number
        opened = play.opened(first.number, within=stage.within(_hold(client)))
        if opened is None:
            tried = len(play.attempts) - first.number
            raise Inconclusive(f"it was to be let in after {refused} refused attempts, and made {tried} (see CLI-02 and CLI-04)")
        failed = max((first_end(each) for each in play.attempts[: opened.number - 1] if each.ended_at is not None), default=opened.at)
        _settle(play, opened.at - failed)
        back = tuple(play.server.live())
        return Recovered(play, first, back, opened.number - first.number - 1, _lost(stage, play, back, reset=True))


def first_end(attempt: Attempt) -> float:
    """When it ended; monotonic seconds. Raises Inconclusive for one that has not."""
    if attempt.ended_at is None:
        raise Inconclusive("a connection that we cut did not end")
    return attempt.ended_at


def _lost(stage: Stage, play: Play, open_now: Sequence[Attempt], *, reset: bool) -> Down:
    """Cut what is open and refuse everybody, until the client is silent or has tried more often than the contract says."""
    client = stage.client
    number = len(play.attempts)
    most = number + client.rules.reconnect_attempts + _MORE
    begin = number
    play.set_door(_closed(client))
    for attempt in open_now:
        attempt.cut(reset=reset)
    lost_at = max((first_end(attempt) for attempt in open_now), default=play.server.began)
    while number < most and (following := play.next_attempt(number, stage.within(client.latest))) is not None:
        number = following.number
    play.server.wait(lambda: all(attempt.ended_at is not None for attempt in play.attempts), stage.within(_hold(client)))
    return Down(play, lost_at, tuple(play.attempts[begin:]), number >= most)


def _hold(client: ClientUnderTest) -> float:
    return max(_HOLD, client.rules.reconnect_base / 2)


def _closed(client: ClientUnderTest) -> _Closed:
    return _Closed(_hold(client))


@dataclass(frozen=True)
class _Closed:
    """Refuses each attempt, by a status or by cutting it off in turn."""

    hold: float

    def __call__(self, attempt: Attempt) -> Door:
        return Door(503 if attempt.number % 2 else 0, self.hold)


def calibrated(stage: Stage, play: Play) -> tuple[list[Attempt], float]:
    """Lose the first connection and let the client come back: what is open then, and how long it took; the fence for a silence.

    Raises Inconclusive when it does not come back: then it says nothing if it does not come back later.
    """
    first = play.first()
    first.cut()
    back = play.opened(first.number, within=stage.within(stage.client.latest))
    if back is None:
        raise Inconclusive("the client does not come back even after an abnormal close (see CLI-02), so its absence says nothing")
    delay = back.at - first_end(first)
    _settle(play, delay)
    return play.server.live(), delay


def _settle(play: Play, delay: float) -> None:
    """Until a second timer for the failure that the client came back from, if it has one, has fired too (see CLI-06)."""
    play.server.wait(lambda: False, max(_SETTLE, delay))


# ---- what the attempts say


def delays(lost: Down) -> list[float]:
    """Seconds from each failure to the attempt that follows it."""
    ends = [lost.lost_at]
    found: list[float] = []
    for attempt in lost.attempts:
        before = [end for end in ends if end <= attempt.at]
        found.append(attempt.at - max(before, default=lost.lost_at))
        if attempt.ended_at is not None:
            ends.append(attempt.ended_at)
    return found


def in_the_air(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Attempts that began while an earlier one was neither refused nor lost yet."""
    return [
        later
        for index, later in enumerate(attempts)
        if any(earlier.ended_at is None or earlier.ended_at > later.at for earlier in attempts[:index])
    ]


def misfit(found: Sequence[float], client: ClientUnderTest, reading: str, slack: float) -> str | None:
    """Why these delays are not those of a client that doubles them; None when they are. `slack`: seconds to allow for being late.

    reading: "sample" wants the contract's own delays; "either" and "window" any first delay within their bounds, and jitter of up
    to a half.
    """
    rules = client.rules
    if reading == "sample":
        firsts, jitter = [rules.reconnect_base], 0.0
    else:
        low = rules.reconnect_base if reading == "either" else client.earliest
        firsts, jitter = [low * (client.latest / low) ** (step / _STEPS) for step in range(_STEPS + 1)], _JITTER
    if not any(_fits(found, first, rules.reconnect_cap, jitter, slack) for first in firsts):
        due = ", ".join(f"{min(firsts[0] * 2**index, rules.reconnect_cap):.3g}" for index in range(len(found)))
        return f"due, at the shortest: {due} s"
    low = client.earliest if reading == "window" else 0.0
    soon = [delay for delay in found if early(delay, low)]
    return f"{soon[0]:.3g} s is sooner than {low:.3g} s" if soon else None


def early(delay: float, due: float) -> bool:
    """Whether a delay is shorter than `due` seconds, but for what a timer may be wrong."""
    return delay < 0.95 * due - _EARLY


def _fits(found: Sequence[float], first: float, cap: float, jitter: float, slack: float) -> bool:
    for index, delay in enumerate(found):
        due = min(first * 2**index, cap)
        late = max(slack, 0.2 * due)
        if early(delay, (1 - jitter) * due) or delay > (1 + jitter) * due + late:
            return False
    return True
