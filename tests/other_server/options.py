"""What this server is started with: its numbers, and which permitted reading it follows where the contract is ambiguous.

READINGS are the choices that the register of ambiguities names, under its keys; HABITS are choices that it leaves open. The first
of each is taken when nothing is said, and differs from the register's default wherever another one is permitted.
"""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from pathlib import Path

from schemas import Limits, load_contract

__all__ = ["HABITS", "READINGS", "Options", "parse_options"]

READINGS = {
    "auth_refusal": ("close4401", "http401"),  # A01
    "heartbeat_phase": ("global", "connection"),  # A04
    "pong_deadline": ("after_traffic", "after_ping"),  # A05
    "pong_rate": ("exempt", "honoured"),  # A07: honoured counts a PONG, takes it all the same, and never answers it
    "rate_window": ("bucket", "fixed", "sliding"),  # A08
    "session_end": ("pushed", "periodic"),  # A09
    "batch_shape": ("frames", "coalesce", "array", "envelope"),  # A10
    "exclusion": ("user", "session", "none"),  # A11
    "voter_id": ("expected", "optional"),  # A12: optional leaves it out
    "admin_events": ("everyone", "admins"),  # A15
    "malformed_input": ("error", "close", "ignore"),  # A16
    "extra_properties": ("closed", "open"),  # A17: open adds one to every broadcast
    "timestamp": ("rfc3339", "any_zone"),  # A18: any_zone is +02:00 without milliseconds
    "admin_echo": ("excluded", "included"),  # A19
    "subscriptions": ("filter", "ignored"),  # A21
    "rate_context": ("rule", "example"),  # A23
    "role": ("live", "at_connect"),  # A24
    "origin": ("unchecked", "allow_list"),  # A28
}
HABITS = {
    "full": ("close1013", "http503"),  # A03: how a connection over the limit is turned away
    "binary": ("close1003", "error", "ignore"),  # A16: what a binary frame draws
    "after_last": ("nothing", "everything"),  # A21: what is received after the last UNSUBSCRIBE
    "throttled": ("drop", "delay"),  # A08: a message over the rate is lost, or takes effect a window later
    "rate_errors": ("each", "first"),  # A08: an ERROR for every message over the rate, or for the first of a window
    "invalid_rate": ("counted", "exempt"),  # A08: do invalid messages count towards the rate
    "sign_in": ("tells", "mute"),  # whether signing in tells who that is (201), or only sets the cookie (204)
}
_OWN_LIMITS: dict[str, float] = {"subscriptions": 40}
_EXAMPLE_ORIGIN = "https://board.example"


@dataclass(frozen=True, slots=True)
class Options:
    """`limits` are scaled already; `own_limits` are those that differ from the contract's scaled ones, as they are in force."""

    choices: dict[str, str]
    limits: Limits
    own_limits: dict[str, float]
    time_scale: float
    port: int
    live_port: int
    ready: Path
    state: Path | None
    people: int
    staff: int
    items: int
    mint: int
    sign_ins: int
    tenant: str
    allowed_origin: str

    def says(self, key: str, value: str) -> bool:
        """Whether the choice `key` is `value`. Raises ValueError for a word that is no choice, so that none is mistyped here."""
        if value not in (READINGS | HABITS)[key]:
            raise ValueError(f"{value!r} is no choice of {key}")
        return self.choices[key] == value


def _limit(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    whole = name not in Limits.DURATIONS
    if name not in {field.name for field in dataclasses.fields(Limits)}:
        raise argparse.ArgumentTypeError(f"there is no limit {name!r}")
    return name, int(value) if whole else float(value)


def parse_options(argv: list[str]) -> Options:
    """Ends the process with a usage message when the flags are wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.other_server", description=__doc__, allow_abbrev=False)
    parser.add_argument("--ready", type=Path, required=True, help="where to say, once all is up, what others must know (JSON)")
    parser.add_argument("--state", type=Path, help="keep everything in this file from a stop to the next start")
    parser.add_argument("--time-scale", type=float, default=1.0, help="every duration of the contract times this")
    parser.add_argument("--port", type=int, default=0, help="of the HTTP API; 0 takes a free one")
    parser.add_argument("--live-port", type=int, default=0, help="of the WebSocket; 0 takes a free one")
    parser.add_argument("--people", type=int, default=12, help="regular users")
    parser.add_argument("--staff", type=int, default=3, help="administrators")
    parser.add_argument("--items", type=int, default=8, help="features that are there from the start")
    parser.add_argument("--mint", type=int, default=0, help="sessions for each user that are there from the start")
    parser.add_argument("--sign-ins", type=int, default=3, help="sign-ins that one address may make in a rate window")
    parser.add_argument("--limit", action="append", type=_limit, default=[], metavar="NAME=VALUE", help="a number of its own, unscaled")
    parser.add_argument("--tenant", default="", help="refuse requests and handshakes without X-Tenant: TENANT")
    parser.add_argument("--allowed-origin", default=_EXAMPLE_ORIGIN, help="the only one let in, with --origin allow_list")
    for key, words in (READINGS | HABITS).items():
        parser.add_argument(f"--{key.replace('_', '-')}", choices=words, default=words[0])
    given = parser.parse_args(argv)
    own = {**_OWN_LIMITS, **dict(given.limit)}
    plain = {field.name: getattr(given, field.name) for field in dataclasses.fields(Options) if hasattr(given, field.name)}
    return Options(
        choices={key: getattr(given, key) for key in READINGS | HABITS},
        limits=dataclasses.replace(load_contract().limits.scaled(given.time_scale), **own),
        own_limits=own,
        **plain,
    )
