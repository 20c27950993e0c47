"""The pre-flight: is anybody there, does the log-in work, does the WebSocket open? One clear sentence when not."""

from __future__ import annotations

import time
from dataclasses import dataclass

from harness.errors import LoginRefused, TargetUnreachable
from harness.net.connection import Connection
from harness.net.dial import Phase
from harness.net.frames import parse_close
from harness.net.handshake import Refused
from harness.target.hook import PreparedRequest
from harness.target.http import HttpClient, NoAnswerError
from harness.target.model import Target
from harness.target.session import Session
from schemas import load_contract

__all__ = ["Reached", "reach"]

_GRACE = 0.3  # seconds in which a target that upgrades everybody (reading A01) closes an invalid session


@dataclass(frozen=True, slots=True)
class Reached:
    """What the pre-flight saw. Times in seconds."""

    http_status: int
    http_seconds: float
    handshake_seconds: float


def reach(target: Target, timeout: float = 10.0) -> Reached:
    """One HTTP request and one handshake with a session, `timeout` seconds each at most.

    Raises TargetUnreachable when either gets nowhere, LoginRefused when the session is not taken, UsageError when the
    profile gives none.
    """
    client = HttpClient(target.tls_context(), timeout)
    try:
        answer = client.send(PreparedRequest("GET", target.base_url + "/", target.http_headers(None), None))
    except NoAnswerError as error:
        raise TargetUnreachable(error.problem, target.base_url, _advice(error.phase, target, "base_url")) from None
    finally:
        client.close()
    session = target.sessions(1)[0]
    began = time.monotonic()
    opened = Connection.open(
        target.ws_url,
        headers=target.handshake_headers(session),
        origin=target.origin,
        timeout=timeout,
        tls=target.tls_context(),
        name="pre-flight",
    )
    took = time.monotonic() - began
    if isinstance(opened, Refused):
        raise _refusal(opened, target, session)
    with opened:
        close = opened.wait_close_frame(_GRACE)
        opened.close()
        opened.wait_closed(1.0)
    if close is not None and parse_close(close.payload)[0] == load_contract().close.session_invalid:
        raise _not_taken(f"it was closed at once with code {parse_close(close.payload)[0]}", target, session)
    return Reached(answer.status, answer.answered_at - answer.called_at, took)


def _advice(phase: Phase, target: Target, key: str) -> str:
    check = f"check {key} in {target.source}"
    return {
        "dns": check,
        "tls": f"check tls.ca_file and {key} in {target.source}",
        "garbage": f"something else listens there; {check}",
    }.get(phase, f"is the server running? {check}")


def _refusal(refused: Refused, target: Target, session: Session) -> TargetUnreachable | LoginRefused:
    key = "ws_url or ws_path"
    if refused.status in (401, 403):
        return _not_taken(f"the handshake was answered with HTTP {refused.status}", target, session)
    do = _advice(refused.phase, target, key)
    if refused.status == 404:
        do = f"there is no WebSocket at this path: check {key} in {target.source}"
    elif refused.status is not None and 300 <= refused.status < 400:
        do = f"redirects are not followed: name the final address with {key} in {target.source}"
    elif refused.status in (429, 503):
        do = "the server is full or shutting down: wait, or end other clients"
    elif refused.status is not None:
        do = f"this is no WebSocket of the contract: check {key} in {target.source}"
    return TargetUnreachable(refused.problem, target.ws_url, do)


def _not_taken(what: str, target: Target, session: Session) -> LoginRefused:
    do = f"the cookie {session.name} was not taken: renew the sessions of {target.source}, check cookie and origin there"
    return LoginRefused(what, target.ws_url, do)
