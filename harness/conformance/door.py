"""Knocking: one handshake, and a Ping on what it opened, to tell a usable socket from a refusal in whatever form.

The rule: a socket counts as admitted once it has answered a Ping frame, so a server that upgrades and closes at once refuses too; and
nobody's silence is called a refusal.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from harness.net.frames import CLOSE, PING, PONG, FrameDecoder, close_payload, encode, parse_close
from harness.net.handshake import Opened, Refused, open_websocket
from harness.target.model import Target
from harness.target.session import Session
from schemas import load_contract

__all__ = ["Admitted", "Refusal", "knock", "refusal_of"]

_MESSAGE_BYTES = 1 << 20
_FORBIDDEN = 403  # what some answer where the contract says 401


@dataclass(frozen=True, slots=True)
class Refusal:
    """A handshake that led to no usable socket. `text` says how, for people."""

    text: str
    answered: bool
    """Somebody refused; otherwise nothing came, which proves nothing about a limit."""
    status: int | None = None
    """HTTP's, where it was refused there."""
    code: int | None = None
    """Of the Close frame that followed the upgrade."""
    nobody: bool = False
    """Nothing listens there."""

    @property
    def of_session(self) -> bool:
        """Whether it was the session that was not taken."""
        contract = load_contract()
        return self.status in (contract.auth_refusal_status, _FORBIDDEN) or self.code == contract.close.session_invalid


@dataclass(frozen=True, slots=True)
class Admitted:
    """A usable socket, and the bytes that came on it so far."""

    opened: Opened
    early: bytes


def knock(target: Target, session: Session, seconds: float) -> Admitted | Refusal:
    """Open a socket with a session; at most `seconds` for the handshake, and as many for the answer to the Ping."""
    opened = open_websocket(
        target.ws_url,
        headers=target.handshake_headers(session),
        origin=target.origin,
        timeout=seconds,
        tls=target.tls_context(),
    )
    if isinstance(opened, Refused):
        again = opened.headers.get("Retry-After")
        told = f" with Retry-After: {again}" if again is not None else ""
        if opened.status is not None:
            return Refusal(f"HTTP {opened.status}{told}", answered=True, status=opened.status)
        return Refusal(opened.problem, answered=opened.phase in ("closed", "connect", "garbage"), nobody=opened.phase == "connect")
    return _greeted(opened, seconds)


def refusal_of(target: Target, session: Session, seconds: float) -> Refusal | None:
    """How a session is refused; None when it is let in, which it then leaves again."""
    found = knock(target, session, seconds)
    if isinstance(found, Refusal):
        return found
    with contextlib.suppress(OSError), found.opened.sock as sock:
        sock.sendall(encode(CLOSE, close_payload(load_contract().close.normal)))
    return None


def _greeted(opened: Opened, seconds: float) -> Admitted | Refusal:
    """Whether the socket is there for us: a Ping frame, and its Pong or a Close."""
    decoder, seen, sock = FrameDecoder(_MESSAGE_BYTES), bytearray(opened.leftover), opened.sock
    fresh = opened.leftover
    deadline = time.monotonic() + seconds
    try:
        sock.settimeout(seconds)
        sock.sendall(encode(PING, b"here?"))
        while True:
            for frame in decoder.feed(fresh):
                if frame.opcode == PONG:
                    return Admitted(opened, bytes(seen))
                if frame.opcode == CLOSE:
                    code, reason = parse_close(frame.payload)
                    sock.close()
                    return Refusal(f"an upgrade, then Close {code} {reason}".strip(), answered=True, code=code)
            if time.monotonic() > deadline or len(seen) > _MESSAGE_BYTES:
                return Admitted(opened, bytes(seen))  # it talks and talks, but we are in
            sock.settimeout(max(0.01, deadline - time.monotonic()))
            fresh = sock.recv(65_536)
            if not fresh:
                sock.close()
                return Refusal("an upgrade, then the end of TCP", answered=True)
            seen += fresh
    except TimeoutError:
        return Admitted(opened, bytes(seen))  # mute, but admitted
    except OSError as error:
        sock.close()
        return Refusal(f"an upgrade, then TCP broke ({error.strerror or error})", answered=True)
