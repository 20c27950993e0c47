"""Abuse of the message rate that goes on and on, as every reading of "persistent" understands it (A08).

The rule: what was sent is measured, so that a machine too busy to send enough is our failure and never the target's leniency.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from harness.conformance import Connection, Inconclusive, SendError, Stage
from schemas import Limits

__all__ = ["abuse", "abuse_seconds", "longest_row"]

_MORE = 2  # times the limit in each window beyond what counts as abuse: a target that stands still for a moment must still count enough
_LONGER = 3  # times as long as planned may it take until the row is long enough


def abuse_seconds(limits: Limits) -> float:
    """How long the abuse lasts that must be ended: a window more than that, since nobody knows where the target's begin."""
    return limits.rate_window * (limits.persistent_windows + 1)


def abuse(stage: Stage, connection: Connection, message: Mapping[str, Any]) -> float:
    """Send `message` too often until the target ends the connection, or as long as `abuse_seconds` asks; how long it was, seconds.

    Raises Inconclusive when this machine could not send so much in a row.
    """
    limits = stage.limits
    most = limits.persistent_factor * limits.rate_messages
    gap = limits.rate_window / (most + _MORE * limits.rate_messages)
    planned = abuse_seconds(limits)
    began = time.monotonic()
    sent: list[float] = []
    while longest_row(sent, most, limits.rate_window) < planned:
        due = began + len(sent) * gap
        if connection.wait_close_frame(max(0.0, due - time.monotonic())) is not None or connection.closed is not None:
            break
        if time.monotonic() > began + _LONGER * planned:
            text = f"only {len(sent)} messages went out in {time.monotonic() - began:.1f} s, and not evenly"
            raise Inconclusive(f"{text}, so it was not the abuse that was meant: this machine is too busy")
        try:
            connection.send_json(message)
        except SendError as error:
            if connection.wait_closed(stage.within(1.0)) is None:
                raise Inconclusive(f"a message could not be sent, and the connection is open: {error}") from None
            break
        sent.append(time.monotonic())
    return time.monotonic() - began


def longest_row(sent: Sequence[float], count: int, window: float) -> float:
    """The longest time, of ascending moments, in which no window of that length held fewer than `count` of them; all in seconds."""
    longest, start = 0.0, 0
    for last in range(count, len(sent)):
        if sent[last] - sent[last - count] > window:
            start = last - count + 1
        else:
            longest = max(longest, sent[last] - sent[start])
    return longest
