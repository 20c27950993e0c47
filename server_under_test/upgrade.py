"""From an HTTP request to a WebSocket: the handshake of RFC 6455 section 4.2, and the transport's change of hands.

The caller has authenticated the session and checked the origin. After the 101 the transport belongs to the hub's
connection and the HTTP machinery of this request (parser, headers, task, timer) is let go, which is what makes an idle
connection small: aiohttp's own WebSocketResponse keeps all of it alive.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import math

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_protocol import RequestHandler

from schemas import load_contract
from server_under_test.hub import Hub
from server_under_test.identity import Identity

__all__ = ["accept"]

VERSION = "13"  # RFC 6455 section 4.1
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
KEY_BYTES = 16


class Handed(web.StreamResponse):
    """Tells aiohttp that the answer has been written and that there is nothing left to do."""

    def __init__(self) -> None:
        super().__init__(status=101)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes | bytearray | memoryview = b"") -> None:
        return None


async def accept(request: web.Request, hub: Hub, identity: Identity) -> web.StreamResponse:
    """Answer the handshake of an authenticated client and hand its transport to the hub.

    Raises HTTPUpgradeRequired (426) for a plain GET or another version, HTTPBadRequest (400) for a malformed handshake,
    HTTPServiceUnavailable (503, with Retry-After) when the server is full or stopping.
    """
    key = check_handshake(request)
    check_room(hub)
    transport = request.transport
    if transport is None or transport.is_closing():
        return Handed()
    transport.write(switching_protocols(key))
    if transport.is_closing():  # the client was gone before the answer
        return Handed()
    connection = hub.join(transport, identity)
    early = let_go(request.protocol)
    transport.set_protocol(connection)
    if early:
        connection.data_received(early)
    resume(transport)
    return Handed()


def check_handshake(request: web.Request) -> str:
    """The client's key. Raises HTTPUpgradeRequired or HTTPBadRequest."""
    headers = request.headers
    wanted = {hdrs.UPGRADE: "websocket", hdrs.CONNECTION: "Upgrade"}
    if "websocket" not in tokens(request, hdrs.UPGRADE) or "upgrade" not in tokens(request, hdrs.CONNECTION):
        raise web.HTTPUpgradeRequired(headers=wanted, text="This is a WebSocket endpoint: send an Upgrade request.\n")
    if headers.get(hdrs.SEC_WEBSOCKET_VERSION, "").strip() != VERSION:
        raise web.HTTPUpgradeRequired(headers={**wanted, hdrs.SEC_WEBSOCKET_VERSION: VERSION}, text=f"Use WebSocket version {VERSION}.\n")
    if request.method != hdrs.METH_GET or request.version < (1, 1) or request.body_exists:
        raise web.HTTPBadRequest(text="A WebSocket handshake is a GET of HTTP/1.1 without a body.\n")
    key = headers.get(hdrs.SEC_WEBSOCKET_KEY, "").strip()
    try:
        length = len(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError):
        length = 0
    if length != KEY_BYTES or len(headers.getall(hdrs.SEC_WEBSOCKET_KEY)) != 1:
        raise web.HTTPBadRequest(text=f"Sec-WebSocket-Key must be {KEY_BYTES} bytes in base64, once.\n")
    return key


def check_room(hub: Hub) -> None:
    """Raises HTTPServiceUnavailable when no connection can be taken on."""
    if hub.full or hub.stopping:
        hub.counters.handshakes_refused_full += hub.full
        reason = "stopping" if hub.stopping else f"full: it serves at most {hub.limits.connections} connections"
        raise web.HTTPServiceUnavailable(headers={hdrs.RETRY_AFTER: retry_after()}, text=f"The server is {reason}. Try again later.\n")


def retry_after() -> str:
    """Whole seconds: the earliest return that the contract foresees after a disconnect."""
    return str(math.ceil(load_contract().benchmark.reconnect_earliest))


def tokens(request: web.Request, name: str) -> set[str]:
    """The comma-separated values of a header, in lower case."""
    return {token.strip().lower() for line in request.headers.getall(name, []) for token in line.split(",")}


def switching_protocols(key: str) -> bytes:
    """The 101 response. No extension and no sub-protocol is ever agreed."""
    proof = base64.b64encode(hashlib.sha1(key.encode() + GUID, usedforsecurity=False).digest())
    return b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + proof + b"\r\n\r\n"


def let_go(protocol: RequestHandler) -> bytes:
    """Make aiohttp's protocol forget its transport without closing it; returns the bytes that it read too far.

    To the protocol the connection looks lost, so it leaves its server's list (a graceful stop does not wait for it),
    cancels its keep-alive timer and ends its task. `_message_tail` is private: aiohttp has no public way to take over
    a connection, so the tests pin this behaviour with bytes sent right behind the handshake.
    """
    early = bytes(protocol._message_tail)
    protocol._message_tail = b""
    protocol.transport = None
    protocol.connection_lost(None)
    return early


def resume(transport: asyncio.Transport) -> None:
    """aiohttp stops reading when much arrives behind a handshake; the connection has taken that over by now."""
    if not transport.is_closing() and not transport.is_reading():
        transport.resume_reading()
