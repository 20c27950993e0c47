"""The HTTP client of a load: connections that are kept and used again, whatever their descriptors' numbers.

The library asks select() whether a kept connection still lives. select() knows no descriptor from 1024 on, and the library takes that for a
dead connection: beside a thousand viewers each vote would come on a connection of its own. Here poll() is asked.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from gevent import monkey
from geventhttpclient import HTTPClient

from harness.target import Target

__all__ = ["ANSWER_SECONDS", "http_client"]

ANSWER_SECONDS = 10.0
"""How long a call waits for its connection, and how long for its answer."""

_CONNECTIONS = 64
_READABLE = 1

_make_poll = monkey.get_original("select", "poll")


def http_client(target: Target) -> Any:
    """One of the target's API, to be used by many greenlets and closed by its owner."""
    address = urlsplit(target.base_url)
    client = HTTPClient(
        address.hostname,
        address.port or (443 if address.scheme == "https" else 80),
        ssl=address.scheme == "https",
        ssl_context_factory=target.tls_context,
        concurrency=_CONNECTIONS,
        connection_timeout=ANSWER_SECONDS,
        network_timeout=ANSWER_SECONDS,
    )
    client._connection_pool._is_socket_alive = _is_quiet
    return client


def _is_quiet(sock: Any) -> bool:
    """Whether nothing can be read from an idle connection: neither its end, nor what nobody asked for."""
    poll = _make_poll()
    poll.register(sock.fileno(), _READABLE)
    return not poll.poll(0)
