"""Does anybody listen on a port of this machine, and how many wait in its accept queue? Read from the kernel's own table.

The kernel lists listening sockets first, so only the head of the table is read, however many connections follow.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass

__all__ = ["Listening", "listening", "parse_listening"]

_LISTEN = "0A"
_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Listening:
    """One look. queue: connections that the kernel has completed and the server has not accepted."""

    there: bool
    queue: int


def listening(host: str, port: int) -> Listening | None:
    """The listener on this machine's `port`; None where `host` is another machine's or the table cannot be read."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if not address.is_loopback:
        return None
    head = _head("/proc/net/tcp6" if address.version == 6 else "/proc/net/tcp")
    return None if head is None else parse_listening(head, port)


def _head(path: str) -> str | None:
    """The table up to the first socket that does not listen."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = ""
        while chunk := os.read(descriptor, _CHUNK).decode("ascii"):
            text += chunk
            if any(not _listens(line) for line in text.splitlines()[1:-1]):
                break
        return text
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _listens(line: str) -> bool:
    return line.split(maxsplit=4)[3:4] == [_LISTEN]


def parse_listening(table: str, port: int) -> Listening:
    """What the kernel's table says of a port: the sum over all that listen there."""
    wanted, queue, there = f":{port:04X}", 0, False
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) > 4 and words[3] == _LISTEN and words[1].endswith(wanted):
            there = True
            queue += int(words[4].partition(":")[2], 16)
    return Listening(there, queue)
