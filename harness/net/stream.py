"""One socket's byte stream as messages: the slow half of the receive path, taken once for each chunk of bytes that is new.

Pure: bytes in, message numbers and the frames to send back out. A frame that is cut anywhere, also between reads, is put together
again; broken framing is named with its section of RFC 6455 and ends the stream; no more of a peer's bytes is kept than `bound`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from harness.net.frames import CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload, encode, parse_close

__all__ = ["PROTOCOL_ERROR", "Stream", "Unpacked"]

PROTOCOL_ERROR = 1002
_TEXT_ALONE = 0x80 | TEXT


@dataclass(slots=True)
class Unpacked:
    """What a chunk said. `plain`: complete text messages and nothing else, so the same bytes mean the same on another socket.

    `answers` are Pong frames to send back; `closing` is code and reason of a Close frame; `trouble` says what broke the framing;
    in both cases `goodbye` is the Close frame to send, unless one was sent before.
    """

    messages: list[int] = field(default_factory=list)
    plain: bool = True
    answers: list[bytes] = field(default_factory=list)
    closing: tuple[int, str] | None = None
    goodbye: bytes | None = None
    trouble: str | None = None


class Stream:
    """What is unfinished on one socket. `digest(payload)` numbers a text message; `bound` is the longest one read, in bytes."""

    __slots__ = ("_bound", "_digest", "_fragments", "_rest")

    def __init__(self, digest: Callable[[bytes], int], bound: int) -> None:
        self._digest, self._bound = digest, bound
        self._rest = b""
        self._fragments: list[bytes] | None = None

    @property
    def unfinished(self) -> bool:
        """Something waits for the bytes to come: the next chunk does not stand for itself."""
        return bool(self._rest) or self._fragments is not None

    def unpack(self, chunk: bytes) -> Unpacked:
        """The messages that a chunk completes. After trouble the stream is empty, and whatever comes next means nothing."""
        said = Unpacked(plain=not self.unfinished)
        said.trouble = self._frames(self._rest + chunk, said)
        if said.trouble is not None:
            self._rest, self._fragments = b"", None
            said.plain = False
            said.goodbye = said.goodbye or encode(CLOSE, close_payload(PROTOCOL_ERROR))
        said.plain = said.plain and not self.unfinished
        return said

    def _frames(self, data: bytes, said: Unpacked) -> str | None:
        position, size = 0, len(data)
        while size - position >= 2:
            first, length, header = data[position], data[position + 1], 2
            if length & 0x80:
                return "a masked frame from the server (RFC 6455 section 5.1)"
            if length >= 126:
                header = 4 if length == 126 else 10
                if size - position < header:
                    break
                length = int.from_bytes(data[position + 2 : position + header], "big")
            if length > self._bound:
                return f"a frame of {length} bytes, more than the {self._bound} we read"
            if size - position < header + length:
                break
            payload = data[position + header : position + header + length]
            position += header + length
            if first == _TEXT_ALONE and self._fragments is None:
                said.messages.append(self._digest(payload))
            else:
                said.plain = False
                trouble = self._rare(first, payload, said)
                if trouble is not None:
                    return trouble
        self._rest = data[position:]
        return None

    def _rare(self, first: int, payload: bytes, said: Unpacked) -> str | None:
        """Fragments, control frames, binary frames. Returns what is wrong with it, if anything."""
        opcode, final = first & 0x0F, bool(first & 0x80)
        if first & 0x70:
            return "a reserved bit is set though no extension was agreed (RFC 6455 section 5.2)"
        if opcode >= CLOSE and (not final or len(payload) > 125):
            return "a control frame that is fragmented or longer than 125 bytes (RFC 6455 section 5.5)"
        if opcode == PING:
            said.answers.append(encode(PONG, payload))
        elif opcode == CLOSE:
            if said.closing is None:
                said.closing = parse_close(payload)
                said.goodbye = encode(CLOSE, payload[:2])
        elif opcode == CONTINUATION:
            return self._continued(payload, said, final=final)
        elif opcode == TEXT and self._fragments is None:
            self._fragments = [payload]
        elif opcode != PONG:
            return f"an unexpected frame with opcode {opcode} (the contract has text messages only)"
        return None

    def _continued(self, payload: bytes, said: Unpacked, *, final: bool) -> str | None:
        if self._fragments is None:
            return "a continuation frame without a beginning (RFC 6455 section 5.4)"
        self._fragments.append(payload)
        if sum(map(len, self._fragments)) > self._bound:
            return f"a fragmented message of more than {self._bound} bytes"
        if final:
            said.messages.append(self._digest(b"".join(self._fragments)))
            self._fragments = None
        return None
