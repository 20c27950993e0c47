"""What the checks of the heartbeat share: how a PING is recognised, answered or left unanswered, and what then becomes of the socket.

These are helpers of checks, no checks: the rules are in test_hb.py. The rule here: a PING is recognised by what it says in whatever
frame it comes, so that HB-03 alone judges its form.
"""

from __future__ import annotations

import time

from harness.conformance import Connection, Frame, Inconclusive, Stage
from harness.net.connection import may_be_ping
from harness.net.frames import Opcode, parse_close
from schemas import Limits, NotJson, parse

__all__ = ["end_of", "ended_how", "is_ping", "next_ping", "one_cycle", "pong", "pong_frames", "three_cycles", "two_cycles", "watch_silence"]


def is_ping(frame: Frame) -> bool:
    """Whether a frame completes the application's PING, in whatever frames and with whatever else in it."""
    if frame.direction != "in" or frame.message is None or not may_be_ping(frame.message):
        return False
    try:
        value = parse(frame.message)
    except NotJson:
        return False
    return isinstance(value, dict) and value.get("type") == "PING"


def next_ping(stage: Stage, connection: Connection, since: int = 0) -> Frame:
    """The next PING from frame index `since` on, late or not. Raises Inconclusive when none came: that is for HB-01 to judge."""
    patience = 2 * stage.limits.heartbeat_interval
    ping = connection.wait_for(is_ping, patience, since)
    if ping is None:
        ended = connection.closed
        how = f"the connection ended with {ended.code}" if ended else f"none within {patience:g} s"
        raise Inconclusive(f"no PING came that could have been answered ({how}): see HB-01 and HB-02")
    return ping


def end_of(connection: Connection, timeout: float) -> float | None:
    """When the server ended the connection, by its Close frame or else by TCP (monotonic); None when it did not in `timeout`."""
    frame = connection.wait_close_frame(timeout)
    if frame is not None:
        return frame.at
    return None if connection.closed is None else connection.closed.at


def ended_how(connection: Connection) -> str:
    """The end in words."""
    frame = connection.wait_close_frame(0.0)
    if frame is not None:
        code, reason = parse_close(frame.payload)
        return f"closed with {code} {reason}".strip()
    return "still open" if connection.closed is None else "TCP ended without a Close frame"


def pong(connection: Connection) -> Frame:
    """Send one PONG."""
    return connection.send_json({"type": "PONG"})


def pong_frames(connection: Connection, ping: Frame) -> bool:
    """Whether Ping frames of the protocol were answered after that PING: some servers take that for a sign of life too (HB-09)."""
    return any(frame.direction == "out" and frame.opcode == Opcode.PONG for frame in connection.frames(ping.index))


def watch_silence(stage: Stage, connection: Connection, ping: Frame) -> float | None:
    """Seconds from a PING that is left unanswered until the server ended the connection; None when it did not in time."""
    latest = stage.window(stage.limits.heartbeat_timeout).latest
    ended = end_of(connection, max(0.0, ping.at + latest - time.monotonic()))
    return None if ended is None else ended - ping.at


def one_cycle(limits: Limits) -> float:
    return limits.heartbeat_interval + limits.heartbeat_timeout


def two_cycles(limits: Limits) -> float:
    return 2 * limits.heartbeat_interval + limits.heartbeat_timeout


def three_cycles(limits: Limits) -> float:
    return 3 * limits.heartbeat_interval + limits.heartbeat_timeout
