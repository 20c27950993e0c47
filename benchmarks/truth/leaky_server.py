"""The bundled server, keeping so many bytes of each connection for ever.

python -m benchmarks.truth.leaky_server BYTES [server options]
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from server_under_test.__main__ import main
from server_under_test.connection import Connection
from server_under_test.hub import Hub
from server_under_test.identity import Identity

_kept: list[bytes] = []
_joined = Hub.join


def _leak(bytes_each: int) -> None:
    def join(self: Hub, transport: asyncio.Transport, identity: Identity, *more: Any) -> Connection:
        _kept.append(b"\x01" * (bytes_each + len(_kept) % 2))  # never twice the same object
        return _joined(self, transport, identity, *more)

    Hub.join = join  # type: ignore[method-assign]


if __name__ == "__main__":
    _leak(int(sys.argv.pop(1)))
    sys.exit(main())
