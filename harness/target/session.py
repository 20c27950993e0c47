"""One signed-in session of a target: the cookie exactly as the target gave it, and who it belongs to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from pydantic import SecretStr

__all__ = ["ROLES", "Session", "cookie_problem"]

ROLES = ("regular", "admin")

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 6265: a token
_VALUE = re.compile(r'[!#-+\--:<-\[\]-~]*|"[!#-+\--:<-\[\]-~]*"')  # RFC 6265: cookie-octets, quoted or not


def cookie_problem(name: str, value: str) -> str | None:
    """Why these cannot stand in a Cookie header, without showing the value; None when they can."""
    if not _NAME.fullmatch(name):
        return "the cookie's name must be letters, digits or -._~ and the like"
    if not value:
        return "the cookie's value is empty"
    if not _VALUE.fullmatch(value):
        return "the cookie's value holds a blank, a comma, a semicolon or another character that no cookie may hold"
    return None


@dataclass(frozen=True, slots=True)
class Session:
    """`value` is sent verbatim, percent-encoding included. role is "regular" or "admin"; the rest may be unknown."""

    name: str
    value: SecretStr
    role: str
    user_id: str | None = None
    user_name: str | None = None
    session_id: str | None = None

    def cookie_header(self) -> str:
        """What stands after "Cookie: ". A secret: never log it."""
        return f"{self.name}={self.value.get_secret_value()}"

    def token(self) -> str:
        """The session token inside a signed cookie: what stands before the last dot, decoded. A secret."""
        text = unquote(self.value.get_secret_value())
        return text.rpartition(".")[0] or text
