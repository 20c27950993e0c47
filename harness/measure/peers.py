"""The other end of our connections, as the kernel of one host shows both ends: is it still open, and how much waits in its send queue?

Only where target and generator share a host. A client that does not read cannot see that it was given up: the end of the stream stands
behind all that it has not read. Here it is seen at once, without sending or reading anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.measure.limits import kernel_forms

__all__ = ["Peer", "peers_of", "read_tables"]

_ESTABLISHED = "01"


@dataclass(frozen=True, slots=True)
class Peer:
    """The far end of one connection. `queued`: bytes in its send queue, unsent or not acknowledged."""

    established: bool
    queued: int


def read_tables() -> str:
    """The kernel's tables of TCP sockets; empty where there are none to read."""
    text = []
    for name in ("tcp", "tcp6"):
        try:
            text.append(Path("/proc/net", name).read_text("ascii"))
        except OSError:
            continue
    return "".join(text)


def peers_of(table: str, host: str, port: int) -> dict[int, Peer]:
    """The ends of the connections whose own address is `host` (an IP address) and `port`, by the port at our end."""
    own = {f"{address}:{port:04X}" for address in kernel_forms(host)}
    peers: dict[int, Peer] = {}
    for line in table.splitlines():
        words = line.split(maxsplit=5)
        if len(words) > 4 and words[1] in own:
            peers[int(words[2].rpartition(":")[2], 16)] = Peer(words[3] == _ESTABLISHED, int(words[4].partition(":")[0], 16))
    return peers
