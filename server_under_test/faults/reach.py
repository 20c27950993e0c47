"""How far a defect of something that many clauses rest on can be seen: which clauses rest on it.

Written down here once, and no wider than it is: what is not named must not break.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["BROADCASTS", "PINGS", "REPLIES", "SESSIONS", "SOCKETS", "VOTES", "broken"]

VOTES = (
    "VOTE-*", "BAT-*", "SUB-*", "UNS-*", "CLS-09", "ERR-1[012]", "FUPD-0[49]", "FCRE-0[29]", "FDEL-0[245]", "RATE-07", "RATE-1[256]",
    "LIM-03", "HB-14", "PERF-0[13]", "SEC-04", "SEC-07",
)  # fmt: skip
"""They look at the announcements of votes, or take one for the end of a silence."""

BROADCASTS = (*VOTES, "FUPD-*", "FCRE-*", "FDEL-*", "SEC-06")
"""They look at announcements of any kind."""

PINGS = ("HS-01", "HS-10", "HS-14", "LIM-*", "HB-1[124]", "GEN-08", "ERR-*", "SUB-0*", "UNS-0*", "RATE-*", "SEC-07", "PERF-*")
"""They ask with a ping of the protocol whether a socket lives, or whether all has been said."""

REPLIES = ("HB-1[1235]", "GEN-08", "ERR-*", "SUB-*", "UNS-*", "RATE-*", "VOTE-*", "BAT-*", "CLS-0[46]", "SEC-0[24]")
"""They send messages, and look at what comes back or must not come."""

SESSIONS = (
    "HS-14", "LIM-*", "HB-*", "CLS-*", "GEN-08", "VOTE-*", "BAT-*", "FUPD-*", "FCRE-*", "FDEL-*", "ERR-*", "SUB-*", "UNS-*", "RATE-*",
    "SEC-*", "PERF-*",
)  # fmt: skip
"""Their sockets may be of a session, or a user, that has others open at the same time."""

SOCKETS = (
    "HS-01", "HS-10", "HS-14", "LIM-*", "HB-*", "CLS-*", "GEN-08", "VOTE-*", "BAT-*", "FUPD-*", "FCRE-*", "FDEL-*", "ERR-*", "SUB-*",
    "UNS-*", "RATE-*", "SEC-*", "PERF-*",
)  # fmt: skip
"""They need a socket that stays, and a server that answers."""


def broken(patterns: Iterable[str], reason: str) -> dict[str, str]:
    """What follows from a fault: all these clauses, for this reason."""
    return dict.fromkeys(patterns, reason)
