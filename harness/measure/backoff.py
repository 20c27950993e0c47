"""When a client opens its next socket after it lost one: the contract's rule, the same with jitter, and its sample class.

Each is a pure machine. It is told what happens to its sockets and at what time, and says how many sockets to open and
when to ask again; who owns the sockets obeys. A socket's end is told once, with both browser events it would have fired.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass
from typing import Protocol

from schemas.contract import ClientRules

__all__ = ["CLIENT_MODELS", "ContractClient", "Fate", "ReconnectingClient", "SampleClient", "client_model", "delay", "foretell", "rng_of"]

CLIENT_MODELS = ("contract", "jittered", "sample")
"""The names that `client_model` knows."""


def delay(rules: ClientRules, attempt: int) -> float:
    """Seconds before reconnection number `attempt` (0 is the first): base doubled each time, at most the cap."""
    # Past 2**60 the power would grow without end and the cap has long been reached.
    return float(min(rules.reconnect_base * 2 ** min(attempt, 60), rules.reconnect_cap))


class ReconnectingClient(Protocol):
    """What every client model does. All times are seconds on one clock of the caller's choice."""

    def lost(self, now: float, *, failed: bool, code: int) -> None:
        """A socket ended, or could not be opened. failed: an error came with it (a browser's onerror); code: its close code."""

    def opened(self) -> None:
        """A socket is open."""

    def disconnect(self) -> None:
        """The user leaves."""

    def due(self, now: float) -> int:
        """How many sockets to open now. Each is told of once."""

    def next_deadline(self) -> float | None:
        """When to ask `due` again; None when nothing is scheduled."""

    @property
    def given_up(self) -> bool:
        """True when the attempts are used up and nothing more will be opened."""


class ContractClient:
    """One socket at a time: each loss but a normal closure schedules one reconnection, doubling, until the attempts end.

    jitter: a seeded generator spreads each delay evenly over 0 .. delay ("full jitter"); None keeps the rule's delays,
    and then a thousand clients that lost their server together come back together.
    """

    __slots__ = ("_at", "_left", "_normal", "_rules", "attempts", "given_up", "jitter")

    def __init__(self, rules: ClientRules, normal_code: int, jitter: random.Random | None) -> None:
        self._rules = rules
        self._normal = normal_code
        self.jitter = jitter
        self.attempts = 0
        self.given_up = False
        self._at: float | None = None
        self._left = False

    def lost(self, now: float, *, failed: bool, code: int) -> None:
        if self._left or self._at is not None or (code == self._normal and not failed):
            return
        if self.attempts >= self._rules.reconnect_attempts:
            self.given_up = True
            return
        wait = delay(self._rules, self.attempts)
        self._at = now + (self.jitter.uniform(0.0, wait) if self.jitter else wait)
        self.attempts += 1

    def opened(self) -> None:
        self.attempts = 0
        self.given_up = False

    def disconnect(self) -> None:
        self._left = True
        self._at = None

    def due(self, now: float) -> int:
        if self._at is None or now < self._at:
            return 0
        self._at = None
        return 1

    def next_deadline(self) -> float | None:
        return self._at


class SampleClient:
    """The contract's sample class to the letter (reading A27): the error and the close of one socket each start a timer.

    The counter rises only when a timer fires, so against a dead server the timers double and the attempts end early; on
    recovery several sockets may be open at once; and leaving does not cancel a timer. Slow clients of this kind are what
    a server of the contract meets.
    """

    __slots__ = ("_normal", "_refused", "_rules", "_timers", "attempts")

    def __init__(self, rules: ClientRules, normal_code: int) -> None:
        self._rules = rules
        self._normal = normal_code
        self.attempts = 0
        self._timers: list[float] = []
        self._refused = False

    def lost(self, now: float, *, failed: bool, code: int) -> None:
        if failed:
            self._reconnect(now)
        if code != self._normal:
            self._reconnect(now)

    def _reconnect(self, now: float) -> None:
        if self.attempts >= self._rules.reconnect_attempts:
            self._refused = True
            return
        heapq.heappush(self._timers, now + delay(self._rules, self.attempts))

    def opened(self) -> None:
        self.attempts = 0
        self._refused = False

    def disconnect(self) -> None:
        """Closes the socket with the normal code, which is told by `lost`; timers go on."""

    def due(self, now: float) -> int:
        fired = 0
        while self._timers and self._timers[0] <= now:
            heapq.heappop(self._timers)
            fired += 1
        self.attempts += fired
        return fired

    def next_deadline(self) -> float | None:
        return self._timers[0] if self._timers else None

    @property
    def given_up(self) -> bool:
        return self._refused and not self._timers


def client_model(name: str, rules: ClientRules, normal_code: int, rng: random.Random) -> ReconnectingClient:
    """A new client of the model: "contract", "jittered" or "sample". Raises ValueError for another name."""
    if name == "contract":
        return ContractClient(rules, normal_code, None)
    if name == "jittered":
        return ContractClient(rules, normal_code, rng)
    if name == "sample":
        return SampleClient(rules, normal_code)
    raise ValueError(f"client model {name!r}: it must be one of {', '.join(CLIENT_MODELS)}")


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one client that lost its socket. Times on the caller's clock, seconds, in order.

    `attempts` has one entry a socket that it opens, `opened` those that open at the server. More than one of those is a leak: the
    client knows only its last.
    """

    attempts: tuple[float, ...]
    opened: tuple[float, ...]
    given_up: bool

    @property
    def back(self) -> float | None:
        """When it has a socket again; None when it never has."""
        return self.opened[0] if self.opened else None


def foretell(client: ReconnectingClient, *, lost: float, failed: bool, code: int, dropped: int, back: float) -> Fate:
    """What a new `client` does that loses its only socket at `lost`, when the server is perfect: until `back` it refuses everybody at
    once, from then on it takes everybody at once. back: infinity for a server that never lets the client in again.

    failed, code: as for `ReconnectingClient.lost`; dropped: the code that a refused socket ends with.
    """
    client.lost(lost, failed=failed, code=code)
    attempts: list[float] = []
    opened: list[float] = []
    while (now := client.next_deadline()) is not None:
        sockets = client.due(now)
        attempts += [now] * sockets
        for _ in range(sockets):
            if now >= back:
                opened.append(now)
                client.opened()
            else:
                client.lost(now, failed=True, code=dropped)
    return Fate(tuple(attempts), tuple(opened), not opened)


def rng_of(seed: int, cell: int, client: int) -> random.Random:
    """The generator of one client's jitter: the same for the same three numbers, so that its fate can be foretold."""
    return random.Random(f"{seed}/{cell}/{client}")
