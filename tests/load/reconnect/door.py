"""A small server on a real port that can go and come back, in a thread of its own; and a pen that drives a swarm against it.

The pen's clock stands still while sockets are busy and jumps to the swarm's next deadline when they are not. So thirty seconds of
reconnecting take none, and every time that the swarm measures is exact, on however busy a machine.
"""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from select import epoll, poll
from typing import Any

from harness.load.reconnect.dialer import Route
from harness.load.reconnect.notes import Notes
from harness.load.reconnect.swarm import Page, Swarm
from harness.measure.backoff import ReconnectingClient
from harness.net.frames import CLOSE, close_payload, encode
from tests.net.peers import switching

WAIT = 30.0
_RESET = struct.pack("ii", 1, 0)


def plain_socket(family: int) -> socket.socket:
    return socket.socket(family, socket.SOCK_STREAM)


class Door:
    """Takes at most `limit` WebSockets. `answer` may give another answer than the 101, or None for no answer at all."""

    def __init__(self, limit: int = 1_000_000) -> None:
        self.limit = limit
        self.answer: Callable[[bytes], bytes | None] = switching
        self.inside: list[socket.socket] = []
        self.heads: list[bytes] = []
        self.said = bytearray()
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._listener: socket.socket | None = None
        self._orders: list[tuple[Callable[[], None], threading.Event]] = []
        self._over = False
        self.port = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self.open()

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_: object) -> None:
        self.go()
        self._over = True
        self._waker.send(b"x")
        self._thread.join(WAIT)
        for sock in (self._wake, self._waker):
            sock.close()
        self._selector.close()

    def _do(self, act: Callable[[], None]) -> None:
        """In the server's own thread, and done when this returns."""
        done = threading.Event()
        with self._lock:
            self._orders.append((act, done))
        self._waker.send(b"x")
        assert done.wait(WAIT)

    # -- what a test does with it

    def open(self) -> None:
        """Listen, on the same port as before."""

        def act() -> None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]
            self._selector.register(self._listener, selectors.EVENT_READ)

        self._do(act)

    def go(self, code: int | None = None) -> None:
        """Leave: every socket ends, by a Close frame with `code` first if one is given, and nobody listens any more."""

        def act() -> None:
            if self._listener is not None:
                self._selector.unregister(self._listener)
                self._listener.close()
                self._listener = None
            for sock in [each.fileobj for each in self._selector.get_map().values() if each.fileobj is not self._wake]:
                assert isinstance(sock, socket.socket)
                self._let_go(sock, code)

        self._do(act)

    def send_away(self, code: int) -> None:
        """End every WebSocket, and go on listening."""

        def act() -> None:
            for sock in list(self.inside):
                self._let_go(sock, code)

        self._do(act)

    def _let_go(self, sock: socket.socket, code: int | None) -> None:
        if code is not None and sock in self.inside:
            with contextlib.suppress(OSError):  # a client may have left before
                sock.send(encode(CLOSE, close_payload(code), masked=False))
                sock.shutdown(socket.SHUT_WR)
        self._end(sock)

    # -- the thread

    def _serve(self) -> None:
        while not self._over:
            for key, _ in self._selector.select(1.0):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is self._wake:
                    self._wake.recv(1024)
                elif sock is self._listener:
                    self._accept()
                else:
                    self._read(sock)
            with self._lock:
                orders, self._orders = self._orders, []
            for act, done in orders:
                act()
                done.set()

    def _accept(self) -> None:
        assert self._listener is not None
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = self._listener.accept()
                self._selector.register(sock, selectors.EVENT_READ)

    def _read(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._end(sock)
        elif sock in self.inside:
            self.said += data
        else:
            self.heads.append(data)
            full = len(self.inside) >= self.limit
            answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n" if full else self.answer(data)
            if answer is None:
                return
            let_in = answer.startswith(b"HTTP/1.1 101")
            if let_in:
                self.inside.append(sock)  # before the client can know
            with contextlib.suppress(OSError):
                sock.send(answer)
            if not let_in:
                self._end(sock)

    def _end(self, sock: socket.socket) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(sock)
        if sock in self.inside:
            self.inside.remove(sock)
        sock.close()


@dataclass
class Pen:
    """A swarm of `clients` at a door, and its clock. `rows` and `losses` are what was noted, by column name."""

    door: Door
    clients: Sequence[ReconnectingClient]
    page: Page = field(default_factory=lambda: Page(pong_every=1e6, patience=1e5))
    now: float = 1000.0
    route: Route | None = None
    """Elsewhere than to the door."""

    def __post_init__(self) -> None:
        route = self.route or Route.to(f"ws://127.0.0.1:{self.door.port}/ws", None)
        self.notes = Notes(0, lambda at: at)
        self._records: list[dict[str, Any]] = []
        self.swarm = Swarm(
            self.clients,
            [route.request(["Cookie: a=b"], "http://127.0.0.1")],
            route,
            self.page,
            make_poll=epoll,
            make_socket=plain_socket,
            clock_ns=lambda: round(self.now * 1e9),
            notes=self.notes,
            rng=random.Random(1),
        )

    def __enter__(self) -> Pen:
        return self

    def __exit__(self, *_: object) -> None:
        self.swarm.shut()

    def settle(self, condition: Callable[[], bool], what: str) -> None:
        """Let the sockets do what they do, at this moment of the pen's clock."""
        ready = poll()
        ready.register(self.swarm.fileno(), 1)
        end = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < end, f"waited in vain for {what}"
            deadline = self.swarm.deadline()
            if deadline is None or deadline > self.now:
                ready.poll(20)
            self.swarm.step(self.now)

    def enter(self) -> None:
        """Every client connects, now."""
        self.swarm.arrive([self.now] * len(self.clients))
        self.settle(lambda: self.swarm.holding == len(self.clients) and self.swarm.idle, "all to be inside")
        self.swarm.loyal = True

    def calm(self) -> bool:
        """Nothing is under way at this moment."""
        return not self.swarm.busy

    def run(self, until: float) -> None:
        """Jump from deadline to deadline up to `until`; at each, everything that was begun is brought to its end first."""
        while True:
            self.settle(self.calm, "the sockets of this moment")
            deadline = self.swarm.deadline()
            if deadline is None or deadline > until:
                break
            self.now = max(self.now, deadline)
            self.swarm.step(self.now)
        self.now = until

    def _table(self, kind: str) -> list[dict[str, Any]]:
        self._records += self.notes.take()
        rows: list[dict[str, Any]] = []
        for record in self._records:
            if record["kind"] == kind:
                names = [name for name in record if name not in ("kind", "cell")]
                rows += [dict(zip(names, row, strict=True)) for row in zip(*(record[name] for name in names), strict=True)]
        return rows

    @property
    def attempts(self) -> list[dict[str, Any]]:
        return self._table("attempts")

    @property
    def losses(self) -> list[dict[str, Any]]:
        return self._table("losses")
