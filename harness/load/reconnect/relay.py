"""A path between clients and server that can go silent, as a process of its own: what a network does when a box on it dies.

    python -m harness.load.reconnect.relay HOST PORT READY_FILE

It forwards every byte. Told "silent" on its standard input, it stops: nothing is forwarded and nothing is accepted, and nobody is told.
Told "healed", it takes new connections again, and knows nothing of the old ones: whoever speaks on one, or has spoken meanwhile, is
reset, as by a box that was restarted. The port is in READY_FILE; behind each order stands the file that says it is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import socket
import struct
import sys
from pathlib import Path

__all__ = ["Relay", "main"]

_BACKLOG = 4096
_RESET = struct.pack("ii", 1, 0)


class _Side(asyncio.Protocol):
    """One half of a flow: what it hears, its other half says."""

    def __init__(self, relay: Relay, other: _Side | None) -> None:
        self.relay, self.other = relay, other
        self.transport: asyncio.Transport | None = None
        self.forgotten = False
        self.early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a TCP transport is expected")
        self.transport = transport
        self.relay.sides.add(self)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.other is None:
            self.relay.arrived(self)

    def data_received(self, data: bytes) -> None:
        if self.forgotten:
            self.reset()
        elif self.other is None or self.other.transport is None:
            self.early.append(data)
        else:
            self.other.transport.write(data)

    def eof_received(self) -> None:
        if self.forgotten:
            self.reset()

    def connection_lost(self, exc: Exception | None) -> None:
        self.relay.sides.discard(self)
        other, transport = self.other, None if self.other is None else self.other.transport
        if other is None or other.forgotten or transport is None:
            return
        if exc is None:
            transport.close()
        else:
            other.reset()

    def reset(self) -> None:
        """End this side with RST."""
        if self.transport is not None:
            sock = self.transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()


class Relay:
    """Forwards to `host` and `port`."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self.sides: set[_Side] = set()
        self.is_silent = False
        self._server: asyncio.Server | None = None
        self._joining: set[asyncio.Task[None]] = set()
        self._waiting: list[_Side] = []

    async def listen(self) -> int:
        """Accept on a free port of the loopback, and answer it."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Side(self, None), "127.0.0.1", 0, backlog=_BACKLOG)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def arrived(self, side: _Side) -> None:
        """A client is there. In the silence it gets no answer; afterwards it is let through."""
        if self.is_silent and side.transport is not None:
            side.transport.pause_reading()
            self._waiting.append(side)
        else:
            self._start_join(side)

    def _start_join(self, side: _Side) -> None:
        task = asyncio.create_task(self._join(side))
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    async def _join(self, side: _Side) -> None:
        try:
            _, other = await asyncio.get_running_loop().create_connection(lambda: _Side(self, side), self._host, self._port)
        except OSError:
            side.reset()
            return
        side.other = other
        for data in side.early:
            if other.transport is not None:
                other.transport.write(data)
        side.early.clear()

    def silence(self) -> None:
        """From now on nothing passes and nobody hears of it."""
        self.is_silent = True
        for side in self.sides:
            if side.transport is not None:
                side.transport.pause_reading()

    def heal(self) -> None:
        """New connections pass; the old ones are forgotten."""
        self.is_silent = False
        waiting, self._waiting = self._waiting, []
        for side in list(self.sides):
            side.forgotten = side not in waiting
            if side.transport is not None and not side.transport.is_closing():
                side.transport.resume_reading()
        for side in waiting:
            self._start_join(side)


async def _serve(host: str, port: int, ready: Path) -> None:
    relay = Relay(host, port)
    listening = await relay.listen()
    draft = ready.with_suffix(".new")
    draft.write_text(json.dumps({"port": listening, "pid": os.getpid()}))
    draft.replace(ready)
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    acts = {b"silent": relay.silence, b"healed": relay.heal}
    while order := (await orders.readline()).split():
        acts[order[0]]()
        _done(order[1].decode())


def _done(mark: str) -> None:
    Path(mark).touch()


def main() -> None:
    host, port, ready = sys.argv[1:]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_serve(host, int(port), Path(ready)))


if __name__ == "__main__":
    main()
