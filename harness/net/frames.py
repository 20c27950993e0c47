"""RFC 6455 frames as bytes: what a client sends, including deliberately broken frames, and what a server sent, read
bit by bit.

No socket is touched here. The decoder describes what came instead of refusing it, because a check must be able to name
what is wrong; it gives up only on a frame that is larger than its bound, and never reserves memory for a length that
it was merely told.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "Assembler",
    "FrameDecoder",
    "Opcode",
    "WireFrame",
    "close_payload",
    "encode",
    "parse_close",
]

_CONTROL_PAYLOAD = 125
_SHORT, _LONG = 126, 127


class Opcode(IntEnum):
    """The opcodes that RFC 6455 section 5.2 defines; a frame may carry any other number from 0 to 15."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = (int(opcode) for opcode in Opcode)


_DEFINED = frozenset(int(opcode) for opcode in Opcode)


@dataclass(frozen=True, slots=True)
class WireFrame:
    """One frame as it stood on the wire. `problems` names each rule of RFC 6455 that it breaks; empty means none."""

    opcode: int
    fin: bool
    rsv: int
    masked: bool
    payload: bytes
    problems: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        """Payload bytes."""
        return len(self.payload)

    @property
    def is_control(self) -> bool:
        return self.opcode >= Opcode.CLOSE


def _mask(payload: bytes, key: bytes) -> bytes:
    size = len(payload)
    repeated = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")


def encode(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    mask: bytes | None = None,
    declared_length: int | None = None,
    length_bytes: int | None = None,
) -> bytes:
    """One client frame. With the arguments left alone it is correct; each of them breaks one rule on purpose.

    rsv: 0 to 7, the three reserved bits. mask: four bytes instead of random ones. declared_length: what the header
    claims, whatever the payload is. length_bytes: 0, 2 or 8, the width of the extended length, to write a length in
    more bytes than it needs. Raises ValueError when an argument cannot be written in a frame header at all.
    """
    if not 0 <= opcode <= 15 or not 0 <= rsv <= 7:
        raise ValueError(f"opcode {opcode} must be 0 to 15 and rsv {rsv} 0 to 7: the header has no room for more")
    if mask is not None and len(mask) != 4:
        raise ValueError(f"a mask has 4 bytes, not {len(mask)}")
    length = len(payload) if declared_length is None else declared_length
    if length_bytes is None:
        length_bytes = 0 if length < _SHORT else 2 if length < 65_536 else 8
    if length_bytes not in (0, 2, 8):
        raise ValueError(f"length_bytes is {length_bytes}: 0, 2 or 8 are possible")
    if length < 0 or (length_bytes == 0 and length > 125) or (length_bytes and length >= 1 << (8 * length_bytes)):
        raise ValueError(f"a length of {length} does not fit in the header's {length_bytes or 1} bytes")
    marker = {0: length, 2: _SHORT, 8: _LONG}[length_bytes]
    head = bytes([(fin << 7) | (rsv << 4) | opcode, (masked << 7) | marker]) + (
        length.to_bytes(length_bytes, "big") if length_bytes else b""
    )
    if not masked:
        return head + payload
    key = os.urandom(4) if mask is None else mask
    return head + key + _mask(payload, key)


def close_payload(code: int | None, reason: str = "") -> bytes:
    """The payload of a Close frame; code None gives an empty one. Raises ValueError when the reason exceeds 123 bytes
    of UTF-8.
    """
    if code is None:
        return b""
    data = reason.encode()
    if len(data) > _CONTROL_PAYLOAD - 2:
        raise ValueError(f"the close reason has {len(data)} bytes; a Close frame has room for {_CONTROL_PAYLOAD - 2}")
    return code.to_bytes(2, "big") + data


def parse_close(payload: bytes) -> tuple[int, str]:
    """Code and reason of a Close frame's payload: 1005 when it names none, as RFC 6455 section 7.1.5 says."""
    if len(payload) < 2:
        return 1005, ""
    return int.from_bytes(payload[:2], "big"), payload[2:].decode("utf-8", "replace")


class FrameDecoder:
    """Bytes from a server in, frames out, however the bytes are cut.

    max_payload: bytes. A larger frame sets `failed` to a sentence that says so; whatever follows it is not decoded any
    more.
    """

    def __init__(self, max_payload: int) -> None:
        self.max_payload = max_payload
        self.failed: str | None = None
        self._buffer = bytearray()
        self._message_open = False

    @property
    def pending(self) -> int:
        """Bytes of a frame that has begun but not ended."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[WireFrame]:
        """The frames that `data` completes. Never raises."""
        if self.failed is not None:
            return []
        self._buffer += data
        frames: list[WireFrame] = []
        position = 0
        while self.failed is None:
            step = self._one(position)
            if step is None:
                break
            frame, position = step
            frames.append(frame)
        if position:
            del self._buffer[:position]
        if self.failed is not None:
            self._buffer.clear()
        return frames

    def _one(self, start: int) -> tuple[WireFrame, int] | None:
        """The frame at `start` and where the next begins; None when it has not all come, or is too large."""
        buffer, available = self._buffer, len(self._buffer) - start
        if available < 2:
            return None
        first, second = buffer[start], buffer[start + 1]
        masked, length, position = bool(second & 0x80), second & 0x7F, start + 2
        width = {_SHORT: 2, _LONG: 8}.get(length, 0)
        if available < 2 + width:
            return None
        if width:
            length = int.from_bytes(buffer[position : position + width], "big")
            position += width
        if length > self.max_payload:
            self.failed = f"the server announced a frame of {length} bytes; we read at most {self.max_payload}"
            return None
        end = position + (4 if masked else 0) + length
        if len(buffer) < end:
            return None
        payload = bytes(buffer[end - length : end])
        if masked:
            payload = _mask(payload, bytes(buffer[position : position + 4]))
        fin, rsv, opcode = bool(first & 0x80), (first >> 4) & 7, first & 15
        problems = self._problems(opcode, fin, rsv, masked, payload, width)
        return WireFrame(opcode, fin, rsv, masked, payload, problems), end

    def _problems(self, opcode: int, fin: bool, rsv: int, masked: bool, payload: bytes, width: int) -> tuple[str, ...]:
        found: list[str] = []
        length = len(payload)
        if masked:
            found.append("a server must not mask (section 5.1)")
        if rsv:
            found.append(f"reserved bits {rsv:03b} are set though no extension was agreed (section 5.2)")
        if opcode not in _DEFINED:
            found.append(f"opcode {opcode} is not defined (section 5.2)")
        if (width == 2 and length < _SHORT) or (width == 8 and length < 65_536):
            found.append(f"a length of {length} is written in {width} bytes, more than it needs (section 5.2)")
        if opcode >= CLOSE:
            if not fin:
                found.append("a control frame must not be fragmented (section 5.5)")
            if length > _CONTROL_PAYLOAD:
                found.append(f"a control frame of {length} bytes; {_CONTROL_PAYLOAD} are allowed (section 5.5)")
            if opcode == CLOSE:
                found += _close_problems(payload)
        else:
            if opcode == CONTINUATION and not self._message_open:
                found.append("a continuation of a message that never began (section 5.4)")
            if opcode != CONTINUATION and self._message_open:
                found.append("a new message begins inside an unfinished one (section 5.4)")
            self._message_open = not fin
        return tuple(found)


def _close_problems(payload: bytes) -> list[str]:
    if not payload:
        return []
    if len(payload) == 1:
        return ["a Close frame with one byte has no code (section 5.5.1)"]
    found = []
    code = int.from_bytes(payload[:2], "big")
    if code < 1000 or code in (1004, 1005, 1006, 1015) or 1016 <= code < 3000 or code >= 5000:
        found.append(f"close code {code} must not be sent (section 7.4)")
    try:
        payload[2:].decode("utf-8")
    except UnicodeDecodeError:
        found.append("the close reason is not UTF-8 (section 5.5.1)")
    return found


class Assembler:
    """Frames in, whole messages out: a fragmented message is handed over with its last frame.

    max_message: bytes. Of a longer one the rest is dropped and `add` returns None for it.
    """

    def __init__(self, max_message: int) -> None:
        self.max_message = max_message
        self._opcode: int | None = None
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, frame: WireFrame) -> tuple[int, bytes] | None:
        """(opcode, payload) of the data message that `frame` completes, or None: control frames complete nothing."""
        if frame.is_control:
            return None
        if frame.opcode != CONTINUATION:
            self._opcode, self._parts, self._size = frame.opcode, [], 0
        if self._opcode is None:
            return None
        self._size += frame.length
        if frame.payload and self._size <= self.max_message:  # a flood of empty fragments must not grow the list
            self._parts.append(frame.payload)
        if not frame.fin:
            return None
        whole = (self._opcode, b"".join(self._parts)) if self._size <= self.max_message else None
        self._opcode, self._parts, self._size = None, [], 0
        return whole
