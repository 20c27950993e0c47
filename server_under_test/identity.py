"""Who a connection speaks for, as the session store last knew it.

The HTTP side makes one after authentication; the socket side replaces it at every re-validation and never edits it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Identity"]


@dataclass(frozen=True, slots=True)
class Identity:
    """One signed-in session; `expires_at` is in seconds since the epoch."""

    session_id: str = field(repr=False)
    user_id: str
    name: str
    admin: bool
    expires_at: float
