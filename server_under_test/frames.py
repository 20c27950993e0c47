"""WebSocket frames as the server sees them (RFC 6455 section 5), without any I/O.

The decoder is fed whatever bytes arrived and yields whole messages; between messages it keeps no buffer object, so that
an idle connection costs nothing here. Nothing is decoded after a Close or a violation.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

__all__ = ["Decoder", "Message", "Opcode", "Violation", "close_frame", "encode"]


class Opcode(IntEnum):
    """What a frame is (RFC 6455 section 5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


# RFC 6455 section 7.4.1: the close codes of the protocol's own errors.
PROTOCOL_ERROR = 1002
INVALID_DATA = 1007
TOO_BIG = 1009

# Codes below 3000 that may stand in a Close frame; 3000 to 4999 are free for libraries and applications.
NAMED_CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
FREE_CLOSE_CODES = range(3000, 5000)

FIN, RESERVED, OPCODE = 0x80, 0x70, 0x0F
MASKED, LENGTH = 0x80, 0x7F
TWO_BYTES, EIGHT_BYTES = 126, 127
CONTROL_LIMIT = 125


class Message(NamedTuple):
    """One whole message. TEXT has `text`; the others have `data`; CLOSE also has `code` (None in an empty Close)."""

    opcode: Opcode
    data: bytes
    text: str
    code: int | None


class Violation(Exception):
    """The peer broke the protocol: close the connection with `code`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class _Header(NamedTuple):
    final: bool
    opcode: Opcode
    start: int
    length: int


def encode(opcode: Opcode, payload: bytes) -> bytes:
    """One whole unmasked frame, as a server sends it."""
    length = len(payload)
    if length <= CONTROL_LIMIT:
        return bytes((FIN | opcode, length)) + payload
    if length <= 0xFFFF:
        return bytes((FIN | opcode, TWO_BYTES)) + length.to_bytes(2, "big") + payload
    return bytes((FIN | opcode, EIGHT_BYTES)) + length.to_bytes(8, "big") + payload


def close_frame(code: int | None, reason: str) -> bytes:
    """A Close frame; `code` None makes an empty one. A reason that does not fit is cut at a character."""
    if code is None:
        return encode(Opcode.CLOSE, b"")
    text = reason.encode()[: CONTROL_LIMIT - 2].decode(errors="ignore").encode()
    return encode(Opcode.CLOSE, code.to_bytes(2, "big") + text)


def unmask(payload: bytes, mask: bytes) -> bytes:
    """XOR with the repeated mask; one big-integer operation is the fastest that the standard library has."""
    length = len(payload)
    repeated = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(length, "big")


class Decoder:
    """The client's bytes as messages.

    `limit` is the largest message in bytes, all fragments together; a larger one is refused from its header, before
    its payload is kept.
    """

    __slots__ = ("_buffer", "_fragments", "_limit", "_needed", "_opcode")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer: bytearray | None = None
        self._needed = 0  # bytes without which the buffer cannot yield: a trickled frame is not parsed again and again
        self._fragments: bytearray | None = None
        self._opcode = Opcode.CONTINUATION

    @property
    def idle(self) -> bool:
        """Nothing is kept: neither part of a frame nor part of a fragmented message."""
        return self._buffer is None and self._fragments is None

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the messages that `data` completes. Raises Violation where the peer breaks the protocol.

        Stop feeding after a CLOSE message or a Violation.
        """
        if self._buffer is not None:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return
            data = bytes(self._buffer)
        position = self._needed = 0
        while (header := self._header(data, position)) is not None:
            end = header.start + header.length
            if end > len(data):
                self._needed = end - position
                break
            payload = unmask(data[header.start : end], data[header.start - 4 : header.start])
            position = end
            message = self._control(header, payload) if header.opcode >= Opcode.CLOSE else self._data(header, payload)
            if message is not None:
                yield message
        self._keep(data, position)

    def _keep(self, data: bytes, position: int) -> None:
        if position == len(data):
            self._buffer = None
        elif self._buffer is None:
            self._buffer = bytearray(data[position:])
        else:
            del self._buffer[:position]

    def _header(self, data: bytes, position: int) -> _Header | None:
        """The header at `position`, judged as soon as its bytes are here; None while some are missing."""
        available = len(data) - position
        if available < 2:
            return None
        first, second = data[position], data[position + 1]
        opcode = self._judge(first, second)
        length, start = second & LENGTH, position + 2
        if length >= TWO_BYTES:
            size = 2 if length == TWO_BYTES else 8
            if available < 2 + size:
                return None
            length = int.from_bytes(data[start : start + size], "big")
            start += size
            if length <= (CONTROL_LIMIT if size == 2 else 0xFFFF):
                raise Violation(PROTOCOL_ERROR, "the length is not in its shortest form")
            if length >> 63:
                raise Violation(PROTOCOL_ERROR, "the length has its highest bit set")
        if opcode < Opcode.CLOSE:
            self._judge_size(length)
        if len(data) < start + 4:
            return None
        return _Header(bool(first & FIN), opcode, start + 4, length)

    def _judge(self, first: int, second: int) -> Opcode:
        """What the first two bytes alone allow to say. Raises Violation."""
        if first & RESERVED:
            raise Violation(PROTOCOL_ERROR, "a reserved bit is set and no extension was agreed")
        try:
            opcode = Opcode(first & OPCODE)
        except ValueError:
            raise Violation(PROTOCOL_ERROR, f"opcode {first & OPCODE} is reserved") from None
        if not second & MASKED:
            raise Violation(PROTOCOL_ERROR, "a client's frame must be masked")
        if opcode >= Opcode.CLOSE:
            if not first & FIN:
                raise Violation(PROTOCOL_ERROR, "a control frame must not be fragmented")
            if second & LENGTH > CONTROL_LIMIT:
                raise Violation(PROTOCOL_ERROR, f"a control frame carries at most {CONTROL_LIMIT} bytes")
        elif opcode == Opcode.CONTINUATION and self._fragments is None:
            raise Violation(PROTOCOL_ERROR, "a continuation without a beginning")
        elif opcode != Opcode.CONTINUATION and self._fragments is not None:
            raise Violation(PROTOCOL_ERROR, "a new message inside a fragmented one")
        return opcode

    def _judge_size(self, length: int) -> None:
        if length + len(self._fragments or b"") > self._limit:
            raise Violation(TOO_BIG, f"a message may have at most {self._limit} bytes")

    def _data(self, header: _Header, payload: bytes) -> Message | None:
        if self._fragments is None:
            if header.final:
                return self._message(header.opcode, payload)
            self._opcode, self._fragments = header.opcode, bytearray(payload)
            return None
        self._fragments += payload
        if not header.final:
            return None
        whole, self._fragments = bytes(self._fragments), None
        return self._message(self._opcode, whole)

    def _message(self, opcode: Opcode, payload: bytes) -> Message:
        if opcode == Opcode.BINARY:
            return Message(opcode, payload, "", None)
        try:
            return Message(opcode, b"", payload.decode(), None)
        except UnicodeDecodeError:
            raise Violation(INVALID_DATA, "a text message must be UTF-8") from None

    def _control(self, header: _Header, payload: bytes) -> Message:
        if header.opcode != Opcode.CLOSE:
            return Message(header.opcode, payload, "", None)
        if not payload:
            return Message(Opcode.CLOSE, b"", "", None)
        code = int.from_bytes(payload[:2], "big")
        if len(payload) == 1 or (code not in NAMED_CLOSE_CODES and code not in FREE_CLOSE_CODES):
            raise Violation(PROTOCOL_ERROR, "the close code is not one that may be sent")
        try:
            reason = payload[2:].decode()
        except UnicodeDecodeError:
            raise Violation(INVALID_DATA, "a close reason must be UTF-8") from None
        return Message(Opcode.CLOSE, payload, reason, code)
