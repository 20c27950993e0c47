"""Acts of the scenario overload: what every viewer shows in the end is compared with what the target says is true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.target import HookCaller

if TYPE_CHECKING:
    from harness.load.conductor import Conductor
    from harness.load.member import Member

__all__ = ["compare", "true_counts"]


def true_counts(run: Conductor) -> dict[str, int]:
    """The votes of each feature, by the target's own list. Empty where it cannot be had; the reason is an event."""
    caller = HookCaller(run.target)
    try:
        answer = caller.call("list", run.target.available_sessions(1)[0]).answer
    finally:
        caller.close()
    if not answer.ok:
        run.event("counts_unknown", {"reason": answer.problem or ""})
    return {item.id: item.count for item in answer.items if item.count is not None} if answer.ok else {}


def compare(member: Member, data: Mapping[str, Any]) -> None:
    """An act of the scenario: counts, by feature."""
    if member.station is not None:
        member.station.compare(data["counts"])
    member.status["compared"] = True
