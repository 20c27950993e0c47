"""What the checks of messages that a server may refuse share: send one, and see what it draws.

These are helpers of checks, no checks. The rule here: nothing is called silence before the server had time to answer, or has answered a
Ping that was sent after the message.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from harness.conformance import Connection, Frame, Message, SendError, Stage
from harness.net.frames import Opcode, parse_close

__all__ = ["Reaction", "json_of", "reaction", "text_of"]


@dataclass(frozen=True)
class Reaction:
    """What a server did with a message: an ERROR, a Close, or nothing that could be seen."""

    error: Message | None = None
    close: int | None = None

    @property
    def code(self) -> str:
        """The ERROR's code, "" without one."""
        return "" if self.error is None else str(self.error.get("code"))

    @property
    def quiet(self) -> bool:
        """Whether nothing was seen."""
        return self.error is None and self.close is None

    def __str__(self) -> str:
        if self.error is not None:
            return f"ERROR {self.code}"
        return "nothing" if self.close is None else f"a Close {self.close}"


def reaction(
    stage: Stage, connection: Connection, send: Callable[[Connection], object], *, patient: bool = True, besides: str = ""
) -> Reaction:
    """Send something and see what comes. patient: wait as long as an answer may take; else until a Ping sent after it was answered.

    besides: an error code that cannot be the answer, for it can only have strayed here (ERR-03).
    """

    def telling(frame: Frame) -> bool:
        return frame.opcode == Opcode.CLOSE or (frame.type == "ERROR" and not (besides and frame.json().get("code") == besides))

    mark = connection.mark()
    payload = os.urandom(8)
    with contextlib.suppress(SendError):  # it may be closed before all of it is out
        send(connection)
        if not patient:
            connection.ping(payload)
            connection.wait_for(lambda frame: telling(frame) or frame.payload == payload, stage.patience, mark)
    frame = connection.wait_for(telling, stage.patience if patient else stage.grace, mark)
    if frame is None:
        closed = connection.closed
        return Reaction(close=closed.code) if closed is not None else Reaction()
    if frame.opcode == Opcode.CLOSE:
        closed = connection.wait_closed(stage.patience)
        return Reaction(close=parse_close(frame.payload)[0] if closed is None else closed.code)
    return Reaction(error=frame.json())


def text_of(text: str) -> Callable[[Connection], object]:
    """Sends this text."""
    return lambda connection: connection.send_text(text)


def json_of(message: Message) -> Callable[[Connection], object]:
    """Sends this message."""
    return lambda connection: connection.send_json(message)
