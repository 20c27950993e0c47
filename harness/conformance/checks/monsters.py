"""Texts that have brought servers down, and a way to send one while looking whether all others live on.

These are helpers of ERR-12, no checks.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from harness.conformance import Broken, Connection, SendError, Stage
from harness.net.frames import Opcode
from schemas import Limits

__all__ = ["lives", "monsters", "while_it_reads"]

_BIG = 1024 * 1024  # bytes
_DEEP = 10_000
_MANY = 100_000
_LOOK = 0.05  # seconds between two looks at the others


def monsters(limits: Limits) -> Sequence[tuple[str, bytes]]:
    """Texts that have brought servers down. Those that are not about size are shorter than the largest message, so that they are read."""
    nested = "[" * _DEEP + "]" * _DEEP
    ids = [f'"clnone{number:08}"' for number in range(_MANY)]
    fitting = ids[: limits.message_bytes // (2 * len(ids[0]))]
    return (
        ("one id of 1 MiB", b'{"type":"SUBSCRIBE","featureIds":["' + b"x" * _BIG + b'"]}'),
        ("1 MiB that is no JSON", b"x" * _BIG),
        ("deep arrays", nested.encode()),
        ("ids nested deep", f'{{"type":"SUBSCRIBE","featureIds":{nested}}}'.encode()),
        ("objects nested deep and cut off", b'{"a":' * _DEEP),
        ("many ids", f'{{"type":"SUBSCRIBE","featureIds":[{",".join(fitting)}]}}'.encode()),
        ("very many ids", f'{{"type":"SUBSCRIBE","featureIds":[{",".join(ids)}]}}'.encode()),
        ("an escaped lone surrogate", b'{"type":"UNSUBSCRIBE","featureIds":["\\ud800"]}'),
        ("a lone surrogate in bytes", b'{"type":"UNSUBSCRIBE","featureIds":["\xed\xa0\x80"]}'),
        ("bytes that are no UTF-8", b'{"type":"\xff\xfe"}'),
        ("a number of 5000 digits", b'{"type":"PONG","n":' + b"9" * 5000 + b"}"),
        ("a number out of range", b'{"type":1e999999}'),
        ("NUL and control characters", b'{"type":"SUBSCRIBE","featureIds":["\x00\x01\\u0000"]}'),
        ("names that objects have", b'{"type":"UNSUBSCRIBE","featureIds":["__proto__","constructor"],"__proto__":{"type":"PONG"}}'),
    )


def while_it_reads(stage: Stage, connection: Connection, payload: bytes, look: Callable[[], object]) -> None:
    """Send a text, and look again and again until a Ping sent after it is answered, the server closes, or it has had time enough."""
    fence, mark, deadline = os.urandom(8), connection.mark(), time.monotonic() + stage.patience

    def send() -> None:
        with contextlib.suppress(SendError):  # it may be closed before all is out
            connection.send_frame(Opcode.TEXT, payload)
            connection.ping(fence)

    with ThreadPoolExecutor(1) as pool:  # a server that stands still does not read, and a send would wait for it
        pool.submit(send)
        while time.monotonic() < deadline and connection.closed is None:
            look()
            if connection.wait_for(lambda frame: frame.opcode == Opcode.CLOSE or frame.payload == fence, _LOOK, mark) is not None:
                break
    look()


def lives(stage: Stage, connection: Connection, after: str) -> None:
    """The socket answers a Ping frame."""
    payload, mark = os.urandom(8), connection.mark()
    try:
        connection.ping(payload)
    except SendError as error:
        raise Broken(f"other sockets to live on after {after}", str(error), connection) from None
    if connection.wait_for(lambda frame: frame.payload == payload, stage.patience, mark) is None:
        how = "it answers no Ping" if connection.closed is None else f"it was closed with {connection.closed.code}"
        raise Broken(f"other sockets to live on after {after}", how, connection)
