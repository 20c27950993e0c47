"""A server whose every delivery is known: just enough of the contract's API to be a target, with what it does wrong written down.

    python -m benchmarks.truth.server FOLDER

FOLDER holds order.json; it gets ready.json and sessions.json when the server listens, and truth.json when SIGTERM has ended it: of each
broadcast the moment of every write, taken just before the write, and what was injected; of each socket that did not read, what waited
for it. Sockets are named by their session's number; each session has one. It sends no PING and, unless told to, cuts nobody off.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import struct
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from benchmarks.truth.injection import Injection, Mishap
from benchmarks.truth.order import Order
from schemas import load_contract

__all__ = ["TruthServer", "feature_ids", "user_id"]


_SEND_BUFFER = 16_384  # bytes, where it matters who keeps what


def feature_ids(count: int) -> list[str]:
    """The ids of the features, in the order of the list."""
    return [f"cltruth{number:05d}" for number in range(count)]


def user_id(session: int) -> str:
    """The user of a session; each has one."""
    return f"clvoter{session:05d}"


def _frame(text: bytes) -> bytes:
    length = len(text)
    return (bytes((0x81, length)) if length < 126 else b"\x81\x7e" + struct.pack(">H", length)) + text


@dataclass(slots=True)
class _Broadcast:
    """One vote's broadcast: who was written to and when, and what was done wrong. Times are ns since the epoch: asked for, meant to be
    sent, stamped."""

    feature: int
    occurrence: int
    voter: int
    action: str
    count: int
    asked: int
    meant: int
    mishap: Mishap | None
    stamped: int = 0
    frame: bytes = b""
    sockets: list[int] = field(default_factory=list)
    moments: list[int] = field(default_factory=list)


class TruthServer:
    """All state of the server. Its votes are kept in memory; sessions are known by their cookie."""

    def __init__(self, order: Order) -> None:
        self._contract, self._order = load_contract(), order
        self._cookie = f"__Secure-{self._contract.cookie}" if order.certificate else self._contract.cookie
        occurrences = order.casts // order.features
        self._injection = Injection(order.seed, order.period, occurrences, order.stall, order.delay, order.mishaps)
        self._cookies = {f"truth-{number:05d}": number for number in range(order.sessions)}
        self._ids = feature_ids(order.features)
        self._index = {name: number for number, name in enumerate(self._ids)}
        self._voters: list[set[int]] = [set() for _ in self._ids]
        self._occurrences = [0] * order.features
        self._transports: dict[int, asyncio.WriteTransport] = {}
        self._held: dict[int, list[tuple[int, _Broadcast]]] = {}
        self._waiting: dict[int, list[tuple[int, int]]] = {}  # by session: (ns, bytes that the server itself keeps)
        self._cut: dict[int, int] = {}  # by session: ns
        self._first: float | None = None
        self.broadcasts: list[_Broadcast] = []
        self.stray = 0  # votes beyond the plan

    def application(self) -> web.Application:
        app = web.Application()
        feature = "/api/roadmap/features/{id}/vote"
        app.router.add_get("/api/roadmap/features", self._list)
        app.router.add_post(feature, self._vote)
        app.router.add_delete(feature, self._vote)
        app.router.add_get(self._contract.path, self._socket)
        return app

    def sessions(self) -> list[dict[str, str]]:
        """The content of sessions.json."""
        return [
            {"name": self._cookie, "value": value, "role": "regular", "userId": user_id(number), "sessionId": f"s{number}"}
            for value, number in self._cookies.items()
        ]

    def _caller(self, request: web.Request) -> int:
        session = self._cookies.get(request.cookies.get(self._cookie, ""))
        if session is None:
            raise web.HTTPUnauthorized
        return session

    async def _list(self, request: web.Request) -> web.Response:
        caller = self._caller(request)
        items = [
            {"id": name, "title": name, "status": "TODO", "voteCount": len(voters), "hasVoted": caller in voters}
            for name, voters in zip(self._ids, self._voters, strict=True)
        ]
        return _json({"features": items})

    async def _vote(self, request: web.Request) -> web.Response:
        caller, add = self._caller(request), request.method == "POST"
        feature = self._index.get(request.match_info["id"])
        if feature is None:
            raise web.HTTPNotFound
        voters = self._voters[feature]
        if (caller in voters) == add:
            raise web.HTTPConflict
        voters.symmetric_difference_update({caller})
        self._broadcast(feature, caller, "add" if add else "remove", len(voters))
        return _json({"featureId": self._ids[feature], "voteCount": len(voters), "hasVoted": add})

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        caller = self._caller(request)
        websocket = web.WebSocketResponse(compress=False)
        await websocket.prepare(request)
        if request.transport is not None:
            self._transports[caller] = request.transport
            if self._order.cut.bytes:
                # Else the kernel would go on taking more for a reader that takes nothing, up to megabytes.
                request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        try:
            async for _ in websocket:
                pass  # nothing that a viewer says matters here
        finally:
            if self._transports.get(caller) is request.transport:
                del self._transports[caller]
        return websocket

    # -- broadcasts

    def _broadcast(self, feature: int, voter: int, action: str, count: int) -> None:
        asked = time.time_ns()
        now = asked / 1e9
        self._first = now if self._first is None else self._first
        occurrence = self._occurrences[feature]
        self._occurrences[feature] += 1
        if len(self.broadcasts) >= self._order.casts:
            self.stray += 1
        audience = sorted(session for session in self._transports if session != voter)
        own = [voter] if voter in self._transports else []
        mishap = self._injection.mishap(feature, occurrence, audience, own)
        delay = self._injection.delay(feature, occurrence, now - self._first)
        meant = asked + round(delay * 1e9)
        broadcast = _Broadcast(feature, occurrence, voter, action, count, asked, meant, mishap)
        self.broadcasts.append(broadcast)
        asyncio.get_running_loop().call_later(delay, self._send, broadcast, audience)

    def _built(self, broadcast: _Broadcast) -> bytes:
        """The frame, with the time of now in it."""
        broadcast.stamped = time.time_ns()
        stamp = datetime.fromtimestamp(broadcast.stamped / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        message = {
            "type": "VOTE_UPDATE",
            "featureId": self._ids[broadcast.feature],
            "voteCount": broadcast.count,
            "voterId": user_id(broadcast.voter),
            "action": broadcast.action,
            "timestamp": stamp,
        }
        return _frame(orjson.dumps(message))

    def _send(self, broadcast: _Broadcast, audience: list[int]) -> None:
        mishap, broadcast.frame = broadcast.mishap, self._built(broadcast)
        kind, chosen = (mishap.kind, mishap.sockets) if mishap is not None else ("", ())
        withheld = set(chosen) if kind in ("lost", "vanished", "swapped") else set()
        for session in audience:
            if session not in withheld:
                self._write(broadcast, session)
        for session, earlier in self._held.pop(broadcast.feature, ()):
            self._write(earlier, session)  # after the newer one: that is the swap
        if mishap is None:
            return
        if kind == "swapped":
            self._held[broadcast.feature] = [(session, broadcast) for session in chosen]
        elif kind == "misdirected":
            for session in chosen:
                self._write(broadcast, session)
        elif kind in ("duplicated", "late duplicate"):
            for session in chosen:
                asyncio.get_running_loop().call_later(mishap.delay, self._write, broadcast, session)

    def _write(self, broadcast: _Broadcast, session: int) -> None:
        transport = self._transports.get(session)
        if transport is None or transport.is_closing():
            return
        broadcast.sockets.append(session)
        broadcast.moments.append(time.time_ns())
        transport.write(broadcast.frame)
        waiting = _waiting(transport)
        if waiting or session in self._waiting:
            self._waiting.setdefault(session, []).append((broadcast.moments[-1], waiting))
            if waiting > self._order.cut.bytes and session in self._order.cut.sessions:
                self._cut[session] = time.time_ns()
                transport.abort()

    def truth(self) -> dict[str, Any]:
        """The content of truth.json."""
        return {
            "stray": self.stray,
            "waiting": {str(session): moments for session, moments in self._waiting.items()},
            "cut": {str(session): at for session, at in self._cut.items()},
            "broadcasts": [
                {
                    "feature": each.feature,
                    "occurrence": each.occurrence,
                    "voter": each.voter,
                    "action": each.action,
                    "asked": each.asked,
                    "meant": each.meant,
                    "stamped": each.stamped,
                    "bytes": len(each.frame),
                    "kind": each.mishap.kind if each.mishap else None,
                    "chosen": each.mishap.sockets if each.mishap else (),
                    "sockets": each.sockets,
                    "moments": each.moments,
                }
                for each in self.broadcasts
            ],
        }


def _waiting(transport: asyncio.WriteTransport) -> int:
    """Bytes that the server keeps for a socket. Under TLS there is a second buffer, of records, which asyncio does not count in."""
    records = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
    return transport.get_write_buffer_size() + (records.get_write_buffer_size() if records is not None else 0)


def _json(data: object) -> web.Response:
    return web.Response(body=orjson.dumps(data), content_type="application/json")


async def _serve(folder: Path, order: Order) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = TruthServer(order)
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    context = None
    if order.certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(order.certificate)
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=2048, ssl_context=context)
    await site.start()
    address = f"127.0.0.1:{runner.addresses[0][1]}"
    sessions = folder / "sessions.json"
    sessions.write_bytes(orjson.dumps(server.sessions()))
    s = "s" if order.certificate else ""
    ready = {
        "base_url": f"http{s}://{address}",
        "ws_url": f"ws{s}://{address}{load_contract().path}",
        "pid": os.getpid(),
        "metrics_url": f"http{s}://{address}/metrics",
        "sessions_file": str(sessions),
        "limits": order.limits,
        **({"ca_file": order.authority} if order.authority else {}),
    }
    draft = folder / "ready.json.new"
    draft.write_bytes(orjson.dumps(ready))
    draft.replace(folder / "ready.json")
    await stop.wait()
    (folder / "truth.json").write_bytes(orjson.dumps(server.truth()))
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), Order.read(Path(sys.argv[1]))))
