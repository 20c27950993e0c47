"""From a ws:// or wss:// URL to a connected socket with TLS done, by one deadline, with the reason in words when
there is none.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

__all__ = ["Address", "OpeningError", "Phase", "SocketOption", "dial", "reason", "time_left", "tls_context"]

Phase = Literal["dns", "connect", "tls", "timeout", "closed", "garbage", "http", "invalid"]
"""Where an opening ended: no address; no TCP; no TLS; too late; cut before an answer; not HTTP; HTTP but no 101; a
101 against RFC 6455.
"""

SocketOption = tuple[int, int, int]

_OPTIONS: tuple[SocketOption, ...] = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)


@dataclass(frozen=True, slots=True)
class Address:
    """A ws:// or wss:// URL taken apart."""

    secure: bool
    host: str
    port: int
    resource: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises ValueError, in a sentence, when `url` is not a WebSocket URL."""
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ValueError(f"{url!r} is not a WebSocket URL: it must look like ws://host:port/path or wss://...")
        secure = parts.scheme == "wss"
        resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(secure, parts.hostname, parts.port or (443 if secure else 80), resource)

    @property
    def authority(self) -> str:
        """What stands in the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """What a page served by the same host sends as Origin."""
        return f"http{'s' if self.secure else ''}://{self.authority}"


class OpeningError(Exception):
    """The way to an open WebSocket ended in `phase`; `problem` says how, as a sentence without a full stop."""

    def __init__(self, phase: Phase, problem: str) -> None:
        super().__init__(phase, problem)
        self.phase: Phase = phase
        self.problem = problem


def tls_context(ca_file: Path | None, verify: bool) -> ssl.SSLContext:
    """A client context that trusts the system's authorities, and `ca_file` besides. Raises OSError or ssl.SSLError on
    a bad file.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def reason(error: OSError) -> str:
    """What the operating system says, without its number."""
    return error.strerror or str(error) or type(error).__name__


def dial(address: Address, deadline: float, tls: ssl.SSLContext | None, options: Sequence[SocketOption]) -> socket.socket:
    """A connected socket, TLS done. Raises OpeningError; the socket's timeout is what was left of the deadline."""
    where = f"{address.host}:{address.port}"
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        text = reason(error) if isinstance(error, OSError) else "not a valid host name"
        raise OpeningError("dns", f"the host name {address.host} has no address ({text})") from None
    last: OpeningError | None = None
    for family, kind, protocol, _, sockaddr in found:
        sock = socket.socket(family, kind, protocol)
        try:
            for level, name, value in (*_OPTIONS, *options):
                sock.setsockopt(level, name, value)
            sock.settimeout(time_left(deadline))
            sock.connect(sockaddr)
            return _secured(sock, address, tls, deadline) if address.secure else sock
        except OpeningError as failed:
            sock.close()
            last = failed
        except TimeoutError:
            sock.close()
            last = OpeningError("timeout", f"no TCP connection to {where} in time")
        except OSError as error:
            sock.close()
            last = OpeningError("connect", f"no TCP connection to {where}: {reason(error).lower()}")
    raise last or OpeningError("dns", f"the host name {address.host} has no address")


def _secured(sock: socket.socket, address: Address, tls: ssl.SSLContext | None, deadline: float) -> socket.socket:
    context = tls or tls_context(None, verify=True)
    sock.settimeout(time_left(deadline))
    try:
        return context.wrap_socket(sock, server_hostname=address.host)
    except TimeoutError:
        raise OpeningError("timeout", "the TLS handshake did not end in time") from None
    except ssl.SSLCertVerificationError as error:
        raise OpeningError("tls", f"the certificate was not accepted: {error.verify_message}") from None
    except (OSError, ValueError) as error:
        text = getattr(error, "reason", None) or str(error)
        raise OpeningError("tls", f"the TLS handshake failed: {text}") from None


def time_left(deadline: float) -> float:
    """Seconds until `deadline` on the monotonic clock. Raises TimeoutError when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
