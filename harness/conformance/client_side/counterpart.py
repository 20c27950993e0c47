"""A WebSocket server on loopback that does to its client exactly what it is told: lets in, refuses, cuts, closes, says nothing.

Every attempt to connect is kept with its times. The rule for them: the end of an attempt is stamped before the client can know
of it, and its beginning after the client began it, so a delay between the two is never measured shorter than it was.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.net.frames import Assembler, FrameDecoder, Opcode, close_payload, encode, parse_close

__all__ = ["OPEN", "Attempt", "Counterpart", "Door", "Line"]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_REQUEST_BYTES = 65_536
_REQUEST_SECONDS = 30.0
_MESSAGE_BYTES = 1_048_576
_LINES = 2_000  # kept of one attempt: a flood must not fill the memory
_ENDING = 2.0  # seconds for threads to end
_NO_CODE = 1006  # RFC 6455 section 7.1.5: ended without a Close frame


@dataclass(frozen=True, slots=True)
class Door:
    """What an attempt meets: 101 lets it in, 0 cuts it without an answer, any other status refuses it; after `hold` seconds."""

    status: int
    hold: float = 0.0


OPEN = Door(101)


@dataclass(frozen=True, slots=True)
class Line:
    """One event on an attempt. `way`: "in" from the client, "out" to it, "end" for what is no frame; `at` is monotonic."""

    at: float
    way: str
    opcode: int
    text: str
    message: dict[str, Any] | None = None
    """Of a text frame that holds a JSON object."""

    @property
    def type(self) -> str | None:
        kind = self.message.get("type") if self.message is not None else None
        return kind if isinstance(kind, str) else None


class Attempt:
    """One try of the client to connect. Times are time.monotonic()."""

    def __init__(self, number: int, at: float, sock: socket.socket, changed: threading.Condition) -> None:
        self.number, self.at = number, at
        self.opened_at: float | None = None
        self.ended_at: float | None = None
        """When it was refused or its connection ended; None while it is pending or open."""
        self.close_code: int | None = None
        """Of the client's own Close frame, if that came before ours; 1006 when the client just went away."""
        self.lines: list[Line] = []
        self._sock, self._changed = sock, changed
        self._sending = threading.Lock()
        self._ours = False
        self._reset = False

    @property
    def live(self) -> bool:
        return self.opened_at is not None and self.ended_at is None

    def received(self, kind: str | None = None, since: float = 0.0) -> list[Line]:
        """Data messages of the client, of one `type` if given, from `since` on."""
        with self._changed:
            kept = [line for line in self.lines if line.way == "in" and line.opcode < Opcode.CLOSE and line.at >= since]
        return kept if kind is None else [line for line in kept if line.type == kind]

    def send(self, message: Mapping[str, object]) -> float:
        """Send a JSON message; when it went. Nothing happens on a connection that has ended."""
        at = time.monotonic()
        text = json.dumps(message)
        self._out(Opcode.TEXT, text.encode())
        self.note("out", Opcode.TEXT, text, at)
        return at

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake."""
        self._over()
        self._ours = True
        self._out(Opcode.CLOSE, close_payload(code, reason))
        self.note("out", Opcode.CLOSE, f"Close {code} {reason}".strip())
        timer = threading.Timer(_ENDING, self._shut)
        timer.daemon = True
        timer.start()

    def cut(self, *, reset: bool = False) -> None:
        """End TCP without a Close frame, in good order or by a reset."""
        self._over()
        self._ours, self._reset = True, reset
        self.note("end", -1, "TCP is reset" if reset else "TCP is ended without a Close frame")
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)

    def note(self, way: str, opcode: int, text: str, at: float | None = None, message: dict[str, Any] | None = None) -> None:
        with self._changed:
            if len(self.lines) < _LINES:
                self.lines.append(Line(time.monotonic() if at is None else at, way, opcode, text, message))
            self._changed.notify_all()

    # ---- for the server's own thread

    def serve(self, door: Callable[[Attempt], Door], over: threading.Event, key: bytes) -> None:
        """After the request was read: open or refuse, and listen until the end."""
        way = door(self)
        if way.hold:
            over.wait(way.hold)
        if way.status != OPEN.status:
            self._over()
            self.note("end", -1, f"refused with HTTP {way.status}" if way.status else "cut off without an answer")
            if way.status:
                self._raw(f"HTTP/1.1 {way.status} Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            return
        proof = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        self._raw(head + proof + b"\r\n\r\n")
        with self._changed:
            self.opened_at = time.monotonic()
            self._changed.notify_all()
        self.note("end", -1, "let in")
        self._listen()

    def end(self) -> None:
        """Let the socket go."""
        self._over()
        if self._reset:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def _listen(self) -> None:
        decoder, assembler = FrameDecoder(_MESSAGE_BYTES), Assembler(_MESSAGE_BYTES)
        self._sock.settimeout(None)
        while True:
            try:
                data = self._sock.recv(65_536)
            except OSError:
                data = b""
            if not data:
                return self._gone(_NO_CODE, "the client ended TCP without a Close frame")
            for frame in decoder.feed(data):
                if frame.opcode == Opcode.CLOSE:
                    code, reason = parse_close(frame.payload)
                    self.note("in", Opcode.CLOSE, f"Close {code} {reason}".strip())
                    self._gone(code, "")
                    self._out(Opcode.CLOSE, frame.payload[:2])
                    return None
                if frame.is_control:
                    self.note("in", frame.opcode, f"control frame, {frame.length} bytes")
                    if frame.opcode == Opcode.PING:
                        self._out(Opcode.PONG, frame.payload)
                else:
                    self._heard(assembler.add(frame))
            if decoder.failed is not None:
                return self._gone(_NO_CODE, decoder.failed)

    def _heard(self, whole: tuple[int, bytes] | None) -> None:
        if whole is None:
            return
        opcode, payload = whole
        text = payload.decode("utf-8", "backslashreplace")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        self.note("in", opcode, text[:_LINES], message=value if isinstance(value, dict) else None)

    def _gone(self, code: int, text: str) -> None:
        if not self._ours:
            if text:
                self.note("end", -1, text)
            self.close_code = code
        self._over()

    def _over(self) -> None:
        with self._changed:
            if self.ended_at is None:
                self.ended_at = time.monotonic()
            self._changed.notify_all()

    def _out(self, opcode: int, payload: bytes) -> None:
        self._raw(encode(opcode, payload, masked=False))

    def _raw(self, data: bytes) -> None:
        with self._sending, contextlib.suppress(OSError):
            self._sock.sendall(data)

    def _shut(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)


class Counterpart:
    """The server. `door` is asked about each attempt, when its request has been read; change it at any time.

    port: 0 takes a free one. path: of the address only; every path is served.
    """

    def __init__(self, path: str, port: int = 0) -> None:
        self.door: Callable[[Attempt], Door] = lambda _: OPEN
        self.attempts: list[Attempt] = []
        self.requests: list[str] = []
        """Request lines that asked for no WebSocket."""
        self.began = time.monotonic()
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}{path}"
        self._threads: list[threading.Thread] = []
        self._spawn(self._accept)

    def wait(self, holds: Callable[[], object], seconds: float) -> bool:
        """Wait until `holds()`, asked whenever something happens; False when it did not within `seconds`."""
        with self._changed:
            return bool(self._changed.wait_for(holds, max(0.0, seconds)))

    def live(self) -> list[Attempt]:
        """The connections that are open now."""
        with self._changed:
            return [attempt for attempt in self.attempts if attempt.live]

    def stop(self) -> None:
        """Cut everybody off and let the port go. Never raises."""
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._changed:
            attempts: Sequence[Attempt] = list(self.attempts)
        for attempt in attempts:
            if attempt.ended_at is None:
                attempt.cut()
        deadline = time.monotonic() + _ENDING
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _spawn(self, work: Callable[..., None], *given: object) -> None:
        thread = threading.Thread(target=work, args=given, name="counterpart", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._spawn(self._serve, sock, time.monotonic())

    def _serve(self, sock: socket.socket, at: float) -> None:
        with contextlib.suppress(OSError), sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            head = _request(sock)
            if head is None:
                return
            lines = head.split(b"\r\n")
            key = next((line.partition(b":")[2].strip() for line in lines if line.lower().startswith(b"sec-websocket-key:")), None)
            if key is None:
                with self._changed:
                    self.requests.append(lines[0].decode("latin-1")[:200])
                    self._changed.notify_all()
                sock.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            with self._changed:
                attempt = Attempt(len(self.attempts) + 1, at, sock, self._changed)
                self.attempts.append(attempt)
                self._changed.notify_all()
            try:
                attempt.serve(self.door, self._over, key)
            finally:
                attempt.end()


def _request(sock: socket.socket) -> bytes | None:
    """The head of an HTTP request; None when none came."""
    sock.settimeout(_REQUEST_SECONDS)
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = sock.recv(4096)
        if not chunk or len(data) > _REQUEST_BYTES:
            return None
        data += chunk
    return data.partition(b"\r\n\r\n")[0]
