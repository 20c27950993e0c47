"""What stands for the target while only a client is judged: it has no address, no users and no hooks."""

from __future__ import annotations

from pathlib import Path

from harness.target import load_target
from harness.target.model import Resources, Target, Tolerance
from harness.target.profile import ToleranceTable
from harness.target.session import Session
from schemas import load_contract

__all__ = ["nobody", "target_or_nobody"]


def target_or_nobody(name: str) -> Target:
    """The target of a profile or ready.json, and `nobody()` for an empty name. Raises UsageError."""
    return load_target(name) if name else nobody()


def nobody() -> Target:
    """No target: the contract's own limits and the usual tolerance."""
    contract, tolerance = load_contract(), ToleranceTable()
    return Target(
        name="no target",
        base_url="",
        ws_url="",
        cookie=contract.cookie,
        origin="",
        headers={},
        limits=contract.limits,
        time_scale=1.0,
        tolerance=Tolerance(tolerance.seconds, tolerance.scale, tolerance.clock_skew),
        readings={},
        levels={},
        error_codes=frozenset(),
        resources=Resources(),
        source=Path("no target"),
        hooks={},
        _sessions=_NoSessions(),
        _tls=None,
    )


class _NoSessions:
    def take(self, count: int, role: str | None) -> list[Session]:
        return []

    def more(self) -> str:
        return "name a target"
