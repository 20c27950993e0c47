"""What a truth server is told to do: a file in its folder, because there is more of it than a command line should carry."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson

__all__ = ["Cut", "Order"]

_FILE = "order.json"


@dataclass(frozen=True, slots=True)
class Cut:
    """Sockets of these sessions are ended as soon as more than so many bytes wait for them in the server."""

    sessions: tuple[int, ...] = ()
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """One run of the server.

    casts, sessions, features: how many; period: seconds between two votes on one feature; stall: (begin, length) in seconds from the
    first vote, in which nothing is sent; delay: seconds from each vote to its broadcast, None to draw them; mishaps: whether any are
    injected; limits: of the contract, told in ready.json by name; certificate, authority: PEM files, empty for a server without TLS.
    """

    casts: int
    sessions: int
    features: int
    seed: int
    period: float
    stall: tuple[float, float] = (0.0, 0.0)
    delay: float | None = None
    mishaps: bool = True
    cut: Cut = field(default_factory=Cut)
    limits: dict[str, float] = field(default_factory=dict)
    certificate: str = ""
    authority: str = ""

    def write(self, folder: Path) -> None:
        """Into the folder where `read` will look."""
        (folder / _FILE).write_bytes(orjson.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The order that lies in the folder."""
        told: dict[str, Any] = orjson.loads((folder / _FILE).read_bytes())
        cut = Cut(tuple(told["cut"]["sessions"]), told["cut"]["bytes"])
        return cls(**{**told, "cut": cut, "stall": tuple(told["stall"])})
