"""The classes that one server is made of: the one place where a fault can put others in their stead.

Without a fault these are the real ones, and nothing of the faults is ever loaded.
"""

from __future__ import annotations

from dataclasses import dataclass

from server_under_test.api import Api
from server_under_test.auth import CookieJar
from server_under_test.hub import Hub
from server_under_test.store import Store

__all__ = ["Parts"]


@dataclass(frozen=True, slots=True)
class Parts:
    """`door_shuts_first`: on the way out the server stops listening before it takes leave of its sockets."""

    hub: type[Hub] = Hub
    api: type[Api] = Api
    store: type[Store] = Store
    cookies: type[CookieJar] = CookieJar
    door_shuts_first: bool = True
