"""Many clients on one reactor: each obeys its model, and everything that happens to a socket is written down with its time.

Nothing waits here: `step` does what is due, reads what has come, and `deadline` says when to come again. One round has one `now`, as one
turn of a browser's event loop has. How much later than its model wanted a socket was opened is our own error, and is written down too.
"""

from __future__ import annotations

import heapq
import random
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.load.reconnect.dialer import OPENED, Dialer, Dialled, Route
from harness.load.reconnect.notes import Notes
from harness.measure.backoff import ReconnectingClient
from harness.net.fleet import Fleet, Poll

__all__ = ["Page", "Swarm"]

_PING = 0
_OTHER = 1
_PONG = b'{"type":"PONG"}'
_PING_TEXT = b'{"type":"PING"}'
_BURST = 64  # sockets opened between two looks at what came back
_READABLE = 1
_DROPPED = 1006
_RESET = struct.pack("ii", 1, 0)
_EXPIRE_PERIOD = 0.1
_STRETCH = 0.004  # seconds of reading at a time


@dataclass(frozen=True, slots=True)
class Page:
    """What every client's page does besides reconnecting. Durations in seconds."""

    pong_every: float
    """Between two PONGs that nobody asked for, on each open socket."""
    patience: float
    """Until a handshake without an answer counts as failed."""


class Swarm:
    """`clients` are dealt the `requests` in turn. `make_poll` makes an epoll object; `notes` takes what happens.

    Times are seconds on the clock that the caller passes in and `clock_ns` reads; they have to be the same.
    """

    def __init__(
        self,
        clients: Sequence[ReconnectingClient],
        requests: Sequence[bytes],
        route: Route,
        page: Page,
        *,
        make_poll: Callable[[], Poll],
        make_socket: Callable[[int], Any],
        clock_ns: Callable[[], int],
        notes: Notes,
        rng: random.Random,
    ) -> None:
        self._clients, self._requests, self._page, self._notes, self._rng = clients, requests, page, notes, rng
        self._polls = [make_poll() for _ in range(3)]
        self._poll, dialling, reading = self._polls
        self._dialer = Dialer(dialling, route, page.patience, make_socket)
        self._fleet = Fleet(
            reading,
            digest=lambda payload: _PING if payload == _PING_TEXT else _OTHER,
            replies={_PING: _PONG},
            violation=lambda slot, text: None,
            clock=clock_ns,
        )
        for inner in (self._dialer, self._fleet):
            self._poll.register(inner.fileno(), _READABLE)
        self._owner: list[int] = []  # by socket number
        self._planned: list[float] = []
        self._open: dict[int, Any] = {}
        self._holds = [0] * len(clients)
        self._mourning: set[int] = set()
        self._timers: list[tuple[float, int]] = []
        self._waiting: deque[tuple[float, int]] = deque()  # (planned, client): due, and not opened yet
        self._pongs: list[tuple[float, int]] = []
        self._arrivals: deque[tuple[float, int]] = deque()
        self._expire_at = 0.0
        self._returned: int | None = None
        self.loyal = False
        """Whether a lost socket is reconnected. Until then (while the stage is set) it is only noted."""

    def fileno(self) -> int:
        """Readable when there is something for `step`."""
        return self._poll.fileno()

    # -- what the study asks

    def arrive(self, moments: Sequence[float]) -> None:
        """Client number n opens its first socket at moments[n]."""
        self._arrivals = deque(sorted((at, client) for client, at in enumerate(moments)))

    @property
    def holding(self) -> int:
        """Clients with an open socket."""
        return sum(1 for held in self._holds if held)

    @property
    def sockets(self) -> int:
        """Open sockets, those that their clients have forgotten included."""
        return len(self._open)

    @property
    def busy(self) -> bool:
        """Something is under way or due: the sockets themselves will bring news."""
        return bool(self._waiting) or len(self._dialer) > 0

    @property
    def idle(self) -> bool:
        """Nothing is planned, waiting or under way: without an outside event nothing will change."""
        return not self.busy and not self._arrivals and all(client.next_deadline() is None for client in self._clients)

    @property
    def bereft(self) -> bool:
        """Every client has lost a socket, or could not get one, since it is loyal."""
        return len(self._mourning) == len(self._clients)

    def take_returned(self) -> int | None:
        """The client that came back last; None where nobody did since the last call."""
        last, self._returned = self._returned, None
        return last

    @property
    def resolved(self) -> bool:
        """Every client has a socket or has given up for good."""
        return self.idle and all(held or client.given_up for held, client in zip(self._holds, self._clients, strict=True))

    def part(self, code: int) -> None:
        """Every client leaves in order, with this close code."""
        self.loyal = False
        self._fleet.close_all(code)

    # -- the loop

    def deadline(self) -> float | None:
        """When to call `step` at the latest, though nothing came."""
        if self._waiting:
            return 0.0
        ends = [queue[0][0] for queue in (self._arrivals, self._timers, self._pongs) if queue]
        if len(self._dialer):
            ends.append(self._expire_at)
        return min(ends, default=None)

    def step(self, now: float) -> None:
        """Do what is due at `now` and read what has come."""
        self._fleet.follow(_STRETCH)
        _, ended = self._fleet.take()
        for end in ended:
            self._release(end.slot)
            self._notes.lost(end.slot, self._owner[end.slot], end.at / 1e9, end.code, end.by)
            # An end without a Close frame is a failed connection: RFC 6455 section 7.1.7, and the page's onerror.
            self._bereave(self._owner[end.slot], now, failed=end.code == _DROPPED, code=end.code)
        if now >= self._expire_at:
            self._expire_at = now + _EXPIRE_PERIOD
            self._dialer.expire(now)
        for dialled in self._dialer.step(now):
            self._dialled(dialled, now)
        self._plan(now)
        for _ in range(min(_BURST, len(self._waiting))):
            planned, client = self._waiting.popleft()
            self._dial(client, planned, now)
        self._send_pongs(now)

    def _plan(self, now: float) -> None:
        """Move what is due into the queue of those that dial, in an order that favours nobody."""
        due: list[tuple[float, int]] = []
        while self._arrivals and self._arrivals[0][0] <= now:
            due.append(self._arrivals.popleft())
        while self._timers and self._timers[0][0] <= now:
            _, number = heapq.heappop(self._timers)
            client = self._clients[number]
            while (deadline := client.next_deadline()) is not None and deadline <= now:
                due += [(deadline, number)] * client.due(deadline)
            if deadline is not None:
                heapq.heappush(self._timers, (deadline, number))
        if due:
            self._rng.shuffle(due)
            self._waiting.extend(due)

    def _dial(self, client: int, planned: float, now: float) -> None:
        self._owner.append(client)
        self._planned.append(planned)
        self._dialer.start(len(self._owner) - 1, self._requests[client % len(self._requests)], now)

    def _dialled(self, dialled: Dialled, now: float) -> None:
        number, client = dialled.tag, self._owner[dialled.tag]
        self._notes.dialled(dialled, client, self._planned[number])
        if dialled.outcome != OPENED:
            self._bereave(client, now, failed=True, code=_DROPPED)
            return
        self._open[number] = dialled.sock
        self._holds[client] += 1
        if self.loyal:
            self._clients[client].opened()
            if client in self._mourning:
                self._returned = client
        self._fleet.add(dialled.sock, number, dialled.leftover)
        heapq.heappush(self._pongs, (now + self._page.pong_every, number))

    def _bereave(self, client: int, now: float, *, failed: bool, code: int) -> None:
        if not self.loyal:
            return
        self._mourning.add(client)
        model = self._clients[client]
        model.lost(now, failed=failed, code=code)
        deadline = model.next_deadline()
        if deadline is not None:
            heapq.heappush(self._timers, (deadline, client))

    def _send_pongs(self, now: float) -> None:
        while self._pongs and self._pongs[0][0] <= now:
            _, number = heapq.heappop(self._pongs)
            sock = self._open.get(number)
            if sock is not None:
                self._fleet.send_text(sock, _PONG)
                heapq.heappush(self._pongs, (now + self._page.pong_every, number))

    def _release(self, number: int) -> None:
        sock = self._open.pop(number, None)
        if sock is not None:
            self._holds[self._owner[number]] -= 1
            sock.close()

    def shut(self) -> None:
        """End everything at once, by reset: no port is left waiting."""
        self._dialer.abandon()
        for number, sock in list(self._open.items()):
            self._fleet.remove(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._release(number)
        for poll in self._polls:
            poll.close()
