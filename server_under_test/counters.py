"""What the socket side has done since it started, for the metrics page. Only counts: whoever reads may not write."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Counters"]


@dataclass(slots=True)
class Counters:
    """All of them rise and never fall. Seconds, bytes or counts, as the name says."""

    connections_opened: int = 0
    connections_closed: int = 0
    handshakes_refused_full: int = 0
    votes: int = 0
    broadcasts: int = 0
    votes_broadcast: int = 0  # votes that left, alone or coalesced; less than `votes` while some wait or were deleted
    frames_delivered: int = 0
    bytes_delivered: int = 0
    broadcast_seconds: float = 0.0  # spent writing broadcasts to the transports
    messages_received: int = 0
    messages_invalid: int = 0
    messages_throttled: int = 0
    subscriptions_refused: int = 0
    pings_sent: int = 0
    pongs_received: int = 0
    heartbeats_missed: int = 0
    offenders_closed: int = 0
    protocol_violations: int = 0
    sessions_revalidated: int = 0
    sessions_expired: int = 0
    slow_readers_cut: int = 0
    internal_errors: int = 0
