"""A live server on a free port and raw clients for it, in one event loop: everything between them is real TCP.

A client answers nothing by itself, so that each test says what its client does. Waiting is always for something that
must come, with a deadline that only a broken server misses.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import trustme
import uvloop
from aiohttp import web
from websockets.frames import Frame
from websockets.frames import Opcode as Op

from schemas import Limits, load_contract
from server_under_test.hub import Hub

from .socket_server import SessionTable, make_app

__all__ = ["CONTRACT", "LIMITS", "Ended", "Live", "Op", "Peer", "live", "run", "until"]

PATIENCE = 20.0  # seconds until a thing that must come is called missing
CONTRACT = load_contract()
LIMITS = CONTRACT.limits


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test's coroutine on the loop that the server runs on in earnest."""
    uvloop.run(test())


async def until(true: Callable[[], bool]) -> None:
    """Poll until `true()`."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - what is awaited is a state of another, not an event of ours
            await asyncio.sleep(0.005)


class Ended(Exception):
    """TCP ended: `code` is that of the Close frame before it, None if there was none."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


@dataclass
class Peer:
    """One client. `head` is the server's answer to its handshake."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: bytes
    closed: Ended | None = None
    reset: bool = False  # TCP ended with an error in place of an orderly end

    def send(self, message: object) -> None:
        """A text message: a string as it is, anything else as JSON."""
        self.send_frame(Op.TEXT, (message if isinstance(message, str) else json.dumps(message)).encode())

    def send_frame(self, opcode: Op, payload: bytes, fin: bool = True) -> None:
        self.writer.write(Frame(opcode, payload, fin=fin).serialize(mask=True, extensions=[]))

    def close(self, code: int = 1000) -> None:
        self.send_frame(Op.CLOSE, code.to_bytes(2, "big"))

    async def frame(self) -> tuple[Op, bytes]:
        """The next frame of any kind. Raises Ended when there is none."""
        async with asyncio.timeout(PATIENCE):
            try:
                first, length = await self.reader.readexactly(2)
                assert first & 0xF0 == 0x80, f"not one whole frame without reserved bits: {first:#x}"
                assert length < 128, "a server must not mask"
                if length >= 126:
                    length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8), "big")
                return Op(first & 15), await self.reader.readexactly(length)
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                self.reset = isinstance(error, ConnectionError)
                raise self.closed or Ended(None, "") from None

    async def message(self) -> Any:
        """The next text message, parsed. Raises Ended after a Close frame or the end of TCP."""
        opcode, payload = await self.frame()
        if opcode is Op.CLOSE:
            assert self.closed is None, "a second Close frame"
            code = int.from_bytes(payload[:2], "big") if payload else None
            self.closed = Ended(code, payload[2:].decode())
            return await self.message()
        assert opcode is Op.TEXT, f"{opcode!r} {payload!r}"
        assert self.closed is None, f"{payload!r} after Close"
        return json.loads(payload)

    async def expect(self, kind: str) -> Any:
        """The next message, which must be of this type."""
        message = await self.message()
        assert message["type"] == kind, message
        return message

    async def error(self) -> Any:
        return await self.expect("ERROR")

    async def end(self) -> Ended:
        """The end of the connection, which must come before any further message."""
        try:
            message = await self.message()
        except Ended as ended:
            return ended
        raise AssertionError(f"instead of the end: {message}")

    async def close_frame(self) -> int:
        """The code of the Close frame, which must come next; TCP may go on."""
        opcode, payload = await self.frame()
        assert opcode is Op.CLOSE, (opcode, payload)
        return int.from_bytes(payload[:2], "big")

    def drop(self) -> None:
        self.writer.transport.abort()


@dataclass
class Live:
    """The server, and the means to connect to it."""

    hub: Hub
    sessions: SessionTable
    runner: web.AppRunner
    port: int
    peers: list[Peer]
    trust: ssl.SSLContext | None = None

    async def raw(self, request: bytes) -> Peer:
        """Send these bytes on a new connection and read the head of the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.trust)
        writer.write(request)
        async with asyncio.timeout(PATIENCE):
            peer = Peer(reader, writer, await reader.readuntil(b"\r\n\r\n"))
        self.peers.append(peer)
        return peer

    async def connect(self, session: str = "s", *, admin: bool = False, behind: bytes = b"", delay: float = 0.0) -> Peer:
        """A client of this session, connected; `behind` is sent with a handshake that takes `delay` seconds."""
        headers = {"X-Session": session, "X-Delay": str(delay)} | ({"X-Admin": "yes"} if admin else {})
        peer = await self.raw(handshake(headers) + behind)
        assert b" 101 " in peer.head.splitlines()[0], peer.head
        return peer

    async def refused(self) -> Peer:
        peer = await self.raw(handshake({}))
        assert b" 503 " in peer.head.splitlines()[0], peer.head
        return peer

    def vote(self, feature: str, count: int, session: str = "elsewhere", action: str = "add") -> None:
        self.hub.vote(feature, count, f"user-{session}", session, action)


def handshake(changes: Mapping[str, str | None]) -> bytes:
    """A handshake with these headers put in, replaced, or (None) left out."""
    headers: dict[str, str | None] = {
        "Host": "127.0.0.1",
        "Connection": "keep-alive, Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
        "Sec-WebSocket-Protocol": "chat",
        **changes,
    }
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join(["GET /ws HTTP/1.1", *lines, "", ""]).encode()


def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For the server and for clients that trust it."""
    authority = trustme.CA()
    serving, trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    authority.configure_trust(trust)
    return serving, trust


@asynccontextmanager
async def live(limits: Limits = LIMITS, *, make_hub: Callable[..., Hub] = Hub, tls: bool = False) -> AsyncIterator[Live]:
    """A server for the length of a test."""
    serving, trust = tls_contexts() if tls else (None, None)
    sessions = SessionTable()
    app, hub = make_app(limits, sessions, make_hub=make_hub)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=serving).start()
    server = Live(hub, sessions, runner, runner.addresses[0][1], [], trust)
    try:
        yield server
    finally:
        for peer in server.peers:
            peer.drop()
        await runner.cleanup()
        for peer in server.peers:
            with suppress(ConnectionError):
                await peer.writer.wait_closed()
