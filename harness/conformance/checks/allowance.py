"""What the checks of the message rate share: whole allowances sent at one stroke, and what a server says to them.

These are helpers of checks, no checks: the rules are in test_rate.py. The rule here: whether a PONG counts is left open (A07), so
those that a connection sent by itself are taken off its allowance, and never make a server guilty.
"""

from __future__ import annotations

import os
import time
from typing import Any

from harness.conformance import Broken, Connection, Inconclusive, Message, NotTestable, Seen, SendError, Stage
from harness.net.frames import Opcode
from harness.target import Session

__all__ = [
    "TRIES",
    "errors",
    "fenced",
    "how_over",
    "is_limited",
    "over",
    "pongs",
    "some_message",
    "stroke",
    "throttled",
    "welcome",
]

TRIES = 3
"""Fresh sockets that a check tries its stroke on."""

_AGED = 1.1  # windows after which a message surely counts no more


def some_message(stage: Stage) -> Message:
    """A valid message that changes nothing when it is sent again: a SUBSCRIBE of a feature that exists, where one can be had."""
    try:
        feature = stage.feature()
    except NotTestable:
        feature = "nothing-of-the-kind"
    return {"type": "SUBSCRIBE", "featureIds": [feature]}


def stroke(stage: Stage, connection: Connection, message: Any, count: int) -> bool:
    """Send `count` messages at once. False: it took so long that a bucket may have refilled meanwhile, so it proves no excess."""
    began = time.monotonic()
    try:
        for _ in range(count):
            connection.send_json(message)
    except SendError:
        if connection.wait_closed(stage.within(1.0)) is None:
            raise
    return time.monotonic() - began < stage.limits.rate_window / stage.limits.rate_messages / 2


def is_limited(stage: Stage, message: Message) -> bool:
    """Whether it is the ERROR for too many messages."""
    return message.get("type") == "ERROR" and message.get("code") == stage.contract.errors.rate_limit_exceeded


def fenced(stage: Stage, connection: Connection, since: int) -> bool:
    """Wait until the server has dealt with all that was sent: a Pong frame, even from one that throttles by reading late.

    False when the server ended the connection instead. Raises Inconclusive when neither came.
    """
    payload = os.urandom(8)
    try:
        connection.ping(payload)
    except SendError:
        return False
    answered = connection.wait_for(
        lambda frame: (frame.opcode == Opcode.PONG and frame.payload == payload) or frame.opcode == Opcode.CLOSE,
        stage.within(stage.limits.rate_window) + stage.patience,
        since,
    )
    if answered is None and connection.closed is None:
        raise Inconclusive("a Ping frame behind the messages was not answered, so nothing tells when they had been dealt with")
    time.sleep(stage.grace)
    return answered is not None and answered.opcode == Opcode.PONG and not over(connection)


def over(connection: Connection) -> bool:
    """Whether the server has ended the connection, or begun to."""
    return connection.closed is not None or connection.wait_close_frame(0.0) is not None


def how_over(connection: Connection) -> str:
    """The end in words."""
    closed = connection.wait_closed(1.0)
    return f"the connection was closed with {closed.code}" if closed is not None else "the connection was closed"


def errors(stage: Stage, connection: Connection, since: int) -> list[Seen]:
    """Every ERROR since then."""
    return stage.messages(connection, lambda message: message.get("type") == "ERROR", since)


def pongs(connection: Connection, after: float) -> int:
    """How many PONGs went out after that moment (monotonic)."""
    return sum(frame.direction == "out" and frame.at > after and frame.type == "PONG" for frame in connection.frames())


def welcome(stage: Stage, connection: Connection, message: Any, count: int, what: str) -> None:
    """`count` messages, less the PONGs of the last window, draw no ERROR and do not end the connection; Broken otherwise.

    Raises Inconclusive when a PING came among them, whose PONG may have been the one too many.
    """
    mark, spent = connection.mark(), pongs(connection, time.monotonic() - _AGED * stage.limits.rate_window)
    began = time.monotonic()
    stroke(stage, connection, message, count - spent)
    lives = fenced(stage, connection, mark)
    told = errors(stage, connection, mark)
    if told and pongs(connection, began - _AGED * stage.limits.rate_window) > spent:
        raise Inconclusive(f"a PING came among {what}, and its PONG may count as well: run this again")
    less = f" ({spent} less, for as many PONGs before them)" if spent else ""
    if told:
        code = told[0].message.get("code")
        raise Broken(f"no ERROR for {what}{less}", f"{len(told)} ERRORs, the first {code!s:.60}", connection)
    if not lives:
        raise Broken(f"{what}{less} to be welcome", how_over(connection), connection)


def throttled(stage: Stage, session: Session, message: Any, excess: int = 1, name: str = "") -> tuple[Connection, int, list[Seen]]:
    """A socket just over the limit, the mark before its messages, and the ERRORs for them. Raises Inconclusive without any (RATE-02)."""
    for _ in range(TRIES):
        connection = stage.connect(session, name=name)
        mark = connection.mark()
        stroke(stage, connection, message, stage.limits.rate_messages + excess)
        stage.wait_message(connection, lambda each: is_limited(stage, each), stage.patience, mark)
        fenced(stage, connection, mark)
        told = [each for each in errors(stage, connection, mark) if is_limited(stage, each.message)]
        if told:
            return connection, mark, told
    code = stage.contract.errors.rate_limit_exceeded
    raise Inconclusive(f"{stage.limits.rate_messages + excess} messages at once drew no {code}, so nothing shows a limit: see RATE-02")
