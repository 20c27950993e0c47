"""A server whose every delivery is known: just enough of the contract's API to be a target, with mishaps injected and written down.

    python -m benchmarks.truth_server FOLDER CASTS SESSIONS FEATURES SEED PERIOD STALL_BEGIN STALL_LENGTH [CERTIFICATE AUTHORITY]

With a certificate (PEM, with its key) it speaks TLS, and AUTHORITY is the file that vouches for it. FOLDER gets ready.json and
sessions.json when it listens, and truth.json when SIGTERM has ended it: of each broadcast the moment of every write, taken just before
the write, and what was injected. Sockets are named by their session's number; each session has one.
"""

from __future__ import annotations

import asyncio
import os
import signal
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

from benchmarks.injection import Injection, Mishap
from schemas import load_contract

__all__ = ["TruthServer", "feature_ids", "user_id"]


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
    """One vote's broadcast: who was written to and when (ns since the epoch), and what was done wrong."""

    feature: int
    occurrence: int
    voter: int
    action: str
    frame: bytes
    mishap: Mishap | None
    sockets: list[int] = field(default_factory=list)
    moments: list[int] = field(default_factory=list)


class TruthServer:
    """All state of the server. Its votes are kept in memory; sessions are known by their cookie."""

    def __init__(self, injection: Injection, casts: int, sessions: int, features: int, *, secure: bool = False) -> None:
        self._contract = load_contract()
        self._cookie = f"__Secure-{self._contract.cookie}" if secure else self._contract.cookie
        self._injection, self._casts = injection, casts
        self._cookies = {f"truth-{number:05d}": number for number in range(sessions)}
        self._ids = feature_ids(features)
        self._index = {name: number for number, name in enumerate(self._ids)}
        self._voters: list[set[int]] = [set() for _ in self._ids]
        self._occurrences = [0] * features
        self._transports: dict[int, asyncio.WriteTransport] = {}
        self._held: dict[int, list[tuple[int, _Broadcast]]] = {}
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
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        if request.transport is not None:
            self._transports[caller] = request.transport
        try:
            async for _ in socket:
                pass  # nothing that a viewer says matters here
        finally:
            if self._transports.get(caller) is request.transport:
                del self._transports[caller]
        return socket

    # -- broadcasts

    def _broadcast(self, feature: int, voter: int, action: str, count: int) -> None:
        loop, now = asyncio.get_running_loop(), time.time()
        self._first = now if self._first is None else self._first
        occurrence = self._occurrences[feature]
        self._occurrences[feature] += 1
        if len(self.broadcasts) >= self._casts:
            self.stray += 1
        stamp = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        message = {
            "type": "VOTE_UPDATE",
            "featureId": self._ids[feature],
            "voteCount": count,
            "voterId": user_id(voter),
            "action": action,
            "timestamp": stamp,
        }
        audience = sorted(session for session in self._transports if session != voter)
        own = [voter] if voter in self._transports else []
        mishap = self._injection.mishap(feature, occurrence, audience, own)
        broadcast = _Broadcast(feature, occurrence, voter, action, _frame(orjson.dumps(message)), mishap)
        self.broadcasts.append(broadcast)
        delay = self._injection.delay(feature, occurrence, now - self._first)
        loop.call_later(delay, self._send, broadcast, audience)

    def _send(self, broadcast: _Broadcast, audience: list[int]) -> None:
        mishap = broadcast.mishap
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
        if transport is not None and not transport.is_closing():
            broadcast.sockets.append(session)
            broadcast.moments.append(time.time_ns())
            transport.write(broadcast.frame)

    def truth(self) -> dict[str, Any]:
        """The content of truth.json."""
        return {
            "stray": self.stray,
            "broadcasts": [
                {
                    "feature": each.feature,
                    "occurrence": each.occurrence,
                    "voter": each.voter,
                    "action": each.action,
                    "kind": each.mishap.kind if each.mishap else None,
                    "chosen": each.mishap.sockets if each.mishap else (),
                    "sockets": each.sockets,
                    "moments": each.moments,
                }
                for each in self.broadcasts
            ],
        }


def _json(data: object) -> web.Response:
    return web.Response(body=orjson.dumps(data), content_type="application/json")


async def _serve(folder: Path, server: TruthServer, tls: tuple[Path, Path] | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    context = None
    if tls is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tls[0])
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=2048, ssl_context=context)
    await site.start()
    address = f"127.0.0.1:{runner.addresses[0][1]}"
    sessions = folder / "sessions.json"
    sessions.write_bytes(orjson.dumps(server.sessions()))
    s = "s" if tls is not None else ""
    ready = {
        "base_url": f"http{s}://{address}",
        "ws_url": f"ws{s}://{address}{load_contract().path}",
        "pid": os.getpid(),
        "metrics_url": f"http{s}://{address}/metrics",
        "sessions_file": str(sessions),
        **({"ca_file": str(tls[1])} if tls is not None else {}),
    }
    draft = folder / "ready.json.new"
    draft.write_bytes(orjson.dumps(ready))
    draft.replace(folder / "ready.json")
    await stop.wait()
    (folder / "truth.json").write_bytes(orjson.dumps(server.truth()))
    await runner.cleanup()


def main(words: list[str]) -> None:
    """Serve until SIGTERM."""
    casts, sessions, features, seed = (int(word) for word in words[1:5])
    injection = Injection(seed, float(words[5]), casts // features, (float(words[6]), float(words[7])))
    tls = (Path(words[8]), Path(words[9])) if len(words) > 8 else None
    asyncio.run(_serve(Path(words[0]), TruthServer(injection, casts, sessions, features, secure=tls is not None), tls))


if __name__ == "__main__":
    main(sys.argv[1:])
