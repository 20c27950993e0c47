"""Password hashes: scrypt with a salt of its own in every hash, and the cost written into the text.

Hashing takes tens of milliseconds by design, so it never runs on the event loop: callers hand it to a thread.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

__all__ = ["DECOY", "hash_password", "verify_password"]

# 16 MiB and about 50 ms a hash: the cost of interactive log-ins in the scrypt paper (Percival 2009, N = 2^14, r = 8).
_LOG_N, _R, _P = 14, 8, 1
_SALT_BYTES = 16
_MAX_MEMORY = 64 * 1024 * 1024


def _derive(password: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    secret = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=1 << log_n, r=r, p=p, maxmem=_MAX_MEMORY, dklen=32)


def hash_password(password: str) -> str:
    """A new salted hash, `scrypt$log2(N)$r$p$salt$key` with salt and key in base64."""
    salt = secrets.token_bytes(_SALT_BYTES)
    key = _derive(password, salt, _LOG_N, _R, _P)
    return f"scrypt${_LOG_N}${_R}${_P}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def verify_password(password: str, stored: str) -> bool:
    """Whether `password` made `stored`. Raises ValueError when `stored` is not a hash of this module."""
    scheme, log_n, r, p, salt, key = stored.split("$")
    if scheme != "scrypt":
        raise ValueError(f"password hash scheme {scheme!r} is unknown: only scrypt is")
    derived = _derive(password, base64.b64decode(salt), int(log_n), int(r), int(p))
    return hmac.compare_digest(derived, base64.b64decode(key))


# Verified when the account does not exist, so that an unknown e-mail costs as much time as a wrong password.
DECOY = f"scrypt${_LOG_N}${_R}${_P}${base64.b64encode(bytes(_SALT_BYTES)).decode()}${base64.b64encode(bytes(32)).decode()}"
