"""`source.c` in Python, for machines without a C compiler: the same command line, output and log, at a fraction of the rate.

    python -m benchmarks.slow_source SOCKETS RATE LEAD DRAIN TEXTS LOG

All bytes ever sent are one string, and each socket has its own place in it: nobody is dropped and nothing is skipped. What is due by the
time it gets round to writing goes out in one write a socket.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import select
import socket
import struct
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.source import MARK

__all__ = ["main"]

_SEND_BUFFER = 131_072
_CLOSE = b"\x88\x02\x03\xe8"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def _shake_hands(sock: socket.socket) -> None:
    request = b""
    while b"\r\n\r\n" not in request:
        chunk = sock.recv(4096)
        if not chunk:
            raise ConnectionError("a connection ended before its handshake")
        request += chunk
    key = re.search(rb"(?i)\r\nsec-websocket-key:[ \t]*([^ \t\r]+)", request)
    if key is None:
        raise ConnectionError("a request without Sec-WebSocket-Key")
    accepted = base64.b64encode(hashlib.sha1(key[1] + _GUID).digest()).decode()
    head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    sock.sendall(f"{head}Sec-WebSocket-Accept: {accepted}\r\n\r\n".encode())


def _frame(text: str, at: int) -> bytes:
    stamp = datetime.fromtimestamp(at / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    payload = text.replace(MARK, stamp).encode()
    length = len(payload)
    return (bytes((0x81, length)) if length < 126 else b"\x81\x7e" + struct.pack(">H", length)) + payload


class _Fan:
    """The sockets and what each has had."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self.stream = bytearray()
        self.sent = {sock.fileno(): 0 for sock in sockets}
        self.refusals = self.worst = 0
        self._sockets = {sock.fileno(): sock for sock in sockets}
        self._blocked: set[int] = set()
        self._poll = select.epoll()
        for fd in self._sockets:
            self._poll.register(fd, select.EPOLLIN)

    def __len__(self) -> int:
        return len(self._sockets)

    def push(self, fd: int) -> None:
        sock, head = self._sockets[fd], len(self.stream)
        with memoryview(self.stream) as view:
            while self.sent[fd] < head:
                try:
                    self.sent[fd] += sock.send(view[self.sent[fd] :])
                except BlockingIOError:
                    self.refusals += 1
                    self._blocked.add(fd)
                    self._poll.modify(fd, select.EPOLLIN | select.EPOLLOUT)
                    return
                except OSError:
                    self._forget(fd)
                    return
        if fd in self._blocked:
            self._blocked.discard(fd)
            self._poll.modify(fd, select.EPOLLIN)

    def push_all(self) -> None:
        for fd in list(self._sockets):
            if fd not in self._blocked:
                self.push(fd)
            self.worst = max(self.worst, len(self.stream) - self.sent[fd])

    def _forget(self, fd: int) -> None:
        self._poll.unregister(fd)
        self._sockets.pop(fd).close()

    def serve(self, until: int) -> None:
        """Handle what the peers do until `until`, ns since the epoch; at least once."""
        while True:
            for fd, event in self._poll.poll(max(0.0, (until - time.time_ns()) / 1e9)):
                if event & select.EPOLLOUT:
                    self.push(fd)
                if fd in self._sockets and event & ~select.EPOLLOUT:
                    data = None
                    with contextlib.suppress(OSError):
                        data = self._sockets[fd].recv(4096)
                    if not data:
                        self._forget(fd)
            if time.time_ns() >= until or not self._sockets:
                return

    def behind(self, total: int) -> int:
        return sum(self.sent[fd] < total for fd in self._sockets)

    def close_complete(self, total: int) -> None:
        """A Close frame to everybody who has had everything."""
        self.stream += _CLOSE
        for fd in [fd for fd in self._sockets if self.sent[fd] == total]:
            self.push(fd)


def main(words: list[str]) -> None:
    """Serve one run."""
    count, rate, lead, drain = int(words[0]), float(words[1]), float(words[2]), float(words[3])
    lines = Path(words[4]).read_text("ascii").splitlines()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print("port", listener.getsockname()[1], flush=True)
    sockets = []
    for _ in range(count):
        sock, _address = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        _shake_hands(sock)
        sock.setblocking(False)
        sockets.append(sock)
    fan, moments = _Fan(sockets), bytearray()
    start = time.time_ns() + int(lead * 1e9)
    print("start", start, flush=True)
    before = time.process_time()
    n = passes = 0
    while n < len(lines):
        fan.serve(start + int(n / rate * 1e9))
        began, first = time.time_ns(), n
        while n == first or (n < len(lines) and start + int(n / rate * 1e9) <= began):
            fan.stream += _frame(lines[n], began)
            n += 1
        fan.push_all()
        moments += struct.pack("qq", began, time.time_ns()) * (n - first)
        passes += 1
    cpu, total = time.process_time() - before, len(fan.stream)
    until = time.time_ns() + int(drain * 1e9)
    while fan.behind(total) and time.time_ns() < until:
        fan.serve(time.time_ns() + 10_000_000)
    gone, behind = count - len(fan), fan.behind(total)
    facts = {
        "broadcasts": len(lines),
        "bytes": sum(fan.sent.values()),
        "bytes_due": total * count,
        "refusals": fan.refusals,
        "most_behind": fan.worst,
        "behind": behind,
        "gone": gone,
        "passes": passes,
        "cpu": cpu,
    }
    fan.close_complete(total)
    if not behind:
        fan.serve(time.time_ns() + 2_000_000_000)
    Path(words[5]).write_bytes(moments)
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
