"""Faults of section HS: who gets in, on what evidence, and what comes with it."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Iterable
from typing import Any

from aiohttp import hdrs, web
from multidict import CIMultiDict

from server_under_test.auth import CookieJar
from server_under_test.connection import Connection
from server_under_test.errors import ApiError
from server_under_test.faults.assembly import FaultyApi, FaultyHub
from server_under_test.faults.reach import SESSIONS, broken
from server_under_test.faults.room import Room
from server_under_test.frames import Message, Opcode, close_frame, encode
from server_under_test.gate import Gate
from server_under_test.identity import Identity
from server_under_test.upgrade import KEY_BYTES, Handed, check_handshake, switching_protocols

__all__ = ["ROOM"]

ROOM = Room()

GUEST_SECONDS = 86_400.0
NO_SOCKET = "no client gets a socket that it could use"
SHARED = "checks that use the same session or user at the same time disturb each other"


def guest() -> Identity:
    return Identity("nobodys-session", "nobody", "Nobody", False, time.time() + GUEST_SECONDS)


class SocketGate(Gate):
    """A gate with a way in for sockets alone: votes and edits stay as they are."""

    def for_socket(self, request: web.Request) -> bool:
        return request.path == self._contract.path

    def session_values(self, request: web.Request) -> list[str]:
        """The values of the session cookie, verified or not."""
        pairs = (pair.partition("=") for line in request.headers.getall(hdrs.COOKIE, ()) for pair in line.split(";"))
        return [value.strip() for name, _, value in pairs if name.strip() == self._cookies.name]


@ROOM.fault("HS-01", {"*": NO_SOCKET})
class AcceptOfAnotherKey(FaultyApi):
    """Sec-WebSocket-Accept belongs to a key that the client never sent."""

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        headers = CIMultiDict(request.headers)
        if hdrs.SEC_WEBSOCKET_KEY in headers:
            headers[hdrs.SEC_WEBSOCKET_KEY] = base64.b64encode(os.urandom(KEY_BYTES)).decode()
        return await super()._socket(request.clone(headers=headers))


@ROOM.fault("HS-01", {"*": NO_SOCKET, "LIM-06": "the refused ones take no slot, and neither does anybody else"})
class ValidHandshakesFail(SocketGate):
    """The handshake of a valid session is answered with 500."""

    def caller(self, request: web.Request) -> Identity:
        caller = super().caller(request)
        if self.for_socket(request):
            raise ApiError(500, "SERVER_ERROR", "the server failed")
        return caller


@ROOM.fault(
    "HS-02",
    {
        "HS-06": "a handshake with the token in its query has no cookie either",
        "LIM-06": "a handshake that should fail for want of a session takes a slot",
    },
)
class NoCookieAdmitted(SocketGate):
    """A handshake without any cookie opens a socket."""

    def caller(self, request: web.Request) -> Identity:
        if self.for_socket(request) and hdrs.COOKIE not in request.headers:
            return guest()
        return super().caller(request)


@ROOM.fault("HS-02", {"HS-06": "a handshake with the token in its query has no cookie either"})
class NoCookieForbidden(SocketGate):
    """A handshake without any cookie is refused with 403 in place of 401."""

    def caller(self, request: web.Request) -> Identity:
        if self.for_socket(request) and hdrs.COOKIE not in request.headers:
            raise ApiError(403, "FORBIDDEN", "sign in first")
        return super().caller(request)


@ROOM.fault(
    "HS-03",
    {
        "HS-05": "an altered token is one that was never issued",
        "HS-08": "a peer that should have been refused reads broadcasts",
        "LIM-06": "a handshake that should fail for want of a session takes a slot",
    },
)
class UnknownTokenAdmitted(SocketGate):
    """A session cookie with a token that was never issued opens a socket."""

    def caller(self, request: web.Request) -> Identity:
        try:
            return super().caller(request)
        except ApiError:
            if not self.for_socket(request) or not any(self.unknown(value) for value in self.session_values(request)):
                raise
            return guest()

    def unknown(self, value: str) -> bool:
        return self._store.session(value.partition(".")[0], time.time()) is None and self._cookies.verify(value) is None


@ROOM.fault("HS-03")
class EmptyTokenAdmitted(SocketGate):
    """A session cookie without a value opens a socket."""

    def caller(self, request: web.Request) -> Identity:
        if self.for_socket(request) and self.session_values(request) == [""]:
            return guest()
        return super().caller(request)


@ROOM.fault("HS-03", {"HS-05": "a token without its signature is such a value"})
class MalformedTokenFails(SocketGate):
    """A session cookie whose value has no dot is answered with 500."""

    def caller(self, request: web.Request) -> Identity:
        if self.for_socket(request) and any("." not in value for value in self.session_values(request)):
            raise ApiError(500, "SERVER_ERROR", "the server failed")
        return super().caller(request)


class RemembersSessions(SocketGate):
    """Keeps what it once found out about each session."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.met: dict[tuple[str, ...], Identity] = {}

    def caller(self, request: web.Request) -> Identity:
        values = tuple(self.session_values(request))
        try:
            identity = super().caller(request)
        except ApiError:
            if not self.for_socket(request) or values not in self.met:
                raise
            return self.remembered(self.met[values])
        self.met[values] = identity
        return identity

    def remembered(self, identity: Identity) -> Identity:
        return identity


@ROOM.fault("HS-04")
class RevokedSessionAdmitted(RemembersSessions):
    """A session that was valid once opens sockets after it was revoked."""


@ROOM.fault("HS-04")
class RevokedSessionForbidden(RemembersSessions):
    """A revoked session is refused with 403 in place of 401."""

    def remembered(self, identity: Identity) -> Identity:
        raise ApiError(403, "FORBIDDEN", "this session was revoked")


@ROOM.fault("HS-05")
class SignatureIgnored(CookieJar):
    """Whoever knows a token is let in: the signature is never looked at."""

    def verify(self, value: str) -> str | None:
        token, dot, _ = value.rpartition(".")
        return super().verify(self.sign(token)) if dot and token else None


@ROOM.fault("HS-05")
class MissingSignatureAccepted(CookieJar):
    """A token without any signature is as good as a signed one."""

    def verify(self, value: str) -> str | None:
        return super().verify(value) if "." in value else value or None


@ROOM.fault("HS-06")
class AnyCookieAccepted(CookieJar):
    """The token is taken from a cookie of whatever name."""

    def token(self, headers: Iterable[str]) -> str | None:
        lines = list(headers)
        values = [pair.partition("=")[2].strip() for line in lines for pair in line.split(";")]
        return super().token(lines) or next(filter(None, map(self.verify, values)), None)


@ROOM.fault("HS-06")
class QueryTokenAccepted(SocketGate):
    """The token is taken from the query string as well."""

    def caller(self, request: web.Request) -> Identity:
        if self.for_socket(request):
            raw = [part.partition("=")[2] for part in request.rel_url.raw_query_string.split("&")]
            tokens = (self._cookies.verify(value) for value in (*raw, *request.query.values()))
            for token in filter(None, tokens):
                found = self._store.session(token, time.time())
                if found is not None:
                    return found
        return super().caller(request)


@ROOM.fault("HS-07")
class OnlyFirstCookieRead(CookieJar):
    """The session cookie is found only if it is the first."""

    def token(self, headers: Iterable[str]) -> str | None:
        return super().token(line.partition(";")[0] for line in headers)


@ROOM.fault("HS-07")
class OnlyLastCookieRead(CookieJar):
    """The session cookie is found only if it is the last."""

    def token(self, headers: Iterable[str]) -> str | None:
        return super().token(line.rpartition(";")[2] for line in headers)


@ROOM.fault("HS-07")
class QuotedCookieRefused(CookieJar):
    """A session cookie with its value in quotes is no session cookie."""

    def token(self, headers: Iterable[str]) -> str | None:
        lines = list(headers)
        return None if any(f'{self.name}="' in line for line in lines) else super().token(lines)


@ROOM.fault("HS-07")
class SimilarCookieNameRead(CookieJar):
    """A cookie whose name only ends like the session cookie's is taken for it."""

    def token(self, headers: Iterable[str]) -> str | None:
        pairs = [pair for line in headers for pair in line.split(";")]
        ours = [pair for pair in pairs if pair.partition("=")[0].strip().endswith(self.name)]
        return super().token([f"{self.name}={pair.partition('=')[2]}" for pair in ours[:1]])


@ROOM.fault("HS-08", {f"HS-0{number}": "the refusal comes after an upgrade and a message" for number in (2, 3, 4, 5, 6)})
class GreetedThenRefused(FaultyApi):
    """Without a session the socket opens, says PING, and is closed with 4401 only then."""

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        try:
            self._gate.caller(request)
        except ApiError:
            transport = request.transport
            if transport is None or hdrs.SEC_WEBSOCKET_KEY not in request.headers:
                raise
            greeting = switching_protocols(check_handshake(request)) + self.hub.composer.ping()
            transport.write(greeting + close_frame(self._contract.close.session_invalid, "no session"))
            transport.close()
            return Handed()
        return await super()._socket(request)


@ROOM.fault("HS-10", broken(SESSIONS, SHARED))
class OneSocketASession(FaultyHub):
    """A second tab ends the first."""

    def join(self, transport: asyncio.Transport, identity: Identity) -> Connection:
        for tab in self.tabs(identity.session_id):
            tab.close(self.codes.policy_violation, "opened elsewhere")
        return super().join(transport, identity)


class DeafSecondTab(Connection):
    def receive(self, message: Message) -> None:
        if not self.deaf:
            super().receive(message)

    deaf = False


@ROOM.fault("HS-10", broken(SESSIONS, SHARED), besides=(DeafSecondTab,))
class SecondTabUnserved(FaultyHub):
    """A second tab opens, and whatever its client sends is ignored."""

    def join(self, transport: asyncio.Transport, identity: Identity) -> Connection:
        deaf = bool(self.tabs(identity.session_id))
        connection = super().join(transport, identity)
        if isinstance(connection, DeafSecondTab):
            connection.deaf = deaf
        return connection


@ROOM.fault("HS-13", {"*": NO_SOCKET}, needs=("tls",))
class SecureHandshakesFail(SocketGate):
    """Over TLS the handshake of a valid session is answered with 500."""

    def caller(self, request: web.Request) -> Identity:
        caller = super().caller(request)
        if self.for_socket(request) and request.scheme == "https":
            raise ApiError(500, "SERVER_ERROR", "the server failed")
        return caller


@ROOM.fault("HS-14", {"GEN-02": "the greeting is of no type that the contract knows"})
class Greeting(FaultyHub):
    """Every new socket is welcomed with a message that the contract does not know."""

    def join(self, transport: asyncio.Transport, identity: Identity) -> Connection:
        connection = super().join(transport, identity)
        connection.send(self.composer.frame({"type": "WELCOME"}))
        return connection


@ROOM.fault("HS-14", {"GEN-01": "a list is no object", "GEN-02": "a list has no type"})
class Snapshot(FaultyHub):
    """Every new socket is sent a list of all features that it may watch."""

    def join(self, transport: asyncio.Transport, identity: Identity) -> Connection:
        connection = super().join(transport, identity)
        connection.send(encode(Opcode.TEXT, b'[{"type":"SNAPSHOT","features":[]}]'))
        return connection
