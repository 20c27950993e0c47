"""Session cookies as better-auth signs them, the origin rule, and the limit on sign-ins.

A cookie is `token.signature`, percent-encoded, where the signature is the padded standard base64 of
HMAC-SHA256(secret, token). Signatures are compared as text and in constant time, so each cookie has one spelling, and
what a cookie is worth is decided here alone.
"""

from __future__ import annotations

import base64
import hmac
import secrets
import string
from collections.abc import Iterable
from urllib.parse import quote, unquote

__all__ = ["CookieJar", "SignInLimiter", "new_id", "new_token", "origin_allowed"]

_ALPHANUMERIC = string.ascii_letters + string.digits
_BASE36 = string.digits + string.ascii_lowercase
_TOKEN_LENGTH = 32  # better-auth's own: 190 bits
_SIGNATURE_LENGTH = 44  # 32 bytes in padded base64
_NOT_ENCODED = "-_.!~*'()"  # what encodeURIComponent leaves as it is, letters and digits apart


def new_token() -> str:
    """A fresh session token."""
    return "".join(secrets.choice(_ALPHANUMERIC) for _ in range(_TOKEN_LENGTH))


def new_id() -> str:
    """A fresh id in the shape of the contract's examples: `cl` and 23 characters of base 36."""
    return "cl" + "".join(secrets.choice(_BASE36) for _ in range(23))


class CookieJar:
    """Makes and reads the session cookie of one server. The secret never leaves this object."""

    def __init__(self, name: str, secret: str, *, secure: bool) -> None:
        """`secure`: the server speaks https, so the cookie has the `__Secure-` prefix and the Secure attribute."""
        self.name = f"__Secure-{name}" if secure else name
        self._key = secret.encode()
        self._attributes = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")

    def sign(self, token: str) -> str:
        """The cookie's value for `token`."""
        return quote(f"{token}.{self._signature(token)}", safe=_NOT_ENCODED)

    def _signature(self, token: str) -> str:
        digest = hmac.digest(self._key, token.encode("utf-8", "surrogateescape"), "sha256")
        return base64.b64encode(digest).decode("ascii")

    def verify(self, value: str) -> str | None:
        """The token inside a cookie's value, or None when this server did not sign it."""
        signed = unquote(value, errors="surrogateescape") if "%" in value else value
        token, dot, signature = signed.rpartition(".")
        if not dot or not token or len(signature) != _SIGNATURE_LENGTH or not signature.isascii():
            return None
        if not hmac.compare_digest(self._signature(token), signature):
            return None
        # Percent-encoding has many spellings of one text; only the two that clients really send are taken.
        if value is not signed and value != quote(signed, safe=_NOT_ENCODED, errors="surrogateescape"):
            return None
        return token

    def token(self, headers: Iterable[str]) -> str | None:
        """The verified token from the request's Cookie headers. The first cookie of our name decides."""
        name = self.name
        for header in headers:
            for pair in header.split(";"):
                key, equals, value = pair.partition("=")
                if equals and key.strip() == name:
                    value = value.strip()
                    if len(value) >= 2 and value[0] == value[-1] == '"':
                        value = value[1:-1]
                    return self.verify(value)
        return None

    def set_cookie(self, token: str, max_age: int) -> str:
        """A Set-Cookie header that signs the browser in for `max_age` seconds."""
        return f"{self.name}={self.sign(token)}; Max-Age={max_age}{self._attributes}"

    def clear_cookie(self) -> str:
        """A Set-Cookie header that makes the browser forget the session."""
        return f"{self.name}=; Max-Age=0{self._attributes}"


def origin_allowed(origin: str | None, *, scheme: str, host: str, allowed: frozenset[str]) -> bool:
    """Whether a request from `origin` may act: no Origin (not a browser), the server's own, or a listed one."""
    if origin is None:
        return True
    origin = origin.lower()
    return origin in allowed or origin == f"{scheme}://{host.lower()}"


class SignInLimiter:
    """At most `attempts` sign-ins from one client address in a window of `window` seconds, fixed from its first."""

    _SWEEP_AT = 1024

    def __init__(self, attempts: int, window: float) -> None:
        self._attempts = attempts
        self._window = window
        self._seen: dict[str, tuple[float, int]] = {}

    def wait(self, address: str, now: float) -> float:
        """Count an attempt at `now` (seconds, monotonic). Returns 0, or the seconds until the next one is allowed."""
        start, count = self._seen.get(address, (now, 0))
        if now >= start + self._window:
            start, count = now, 0
        if count >= self._attempts:
            return start + self._window - now
        if count == 0 and len(self._seen) >= self._SWEEP_AT:
            self._seen = {key: entry for key, entry in self._seen.items() if now < entry[0] + self._window}
        self._seen[address] = (start, count + 1)
        return 0.0
