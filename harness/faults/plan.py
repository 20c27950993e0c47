"""What to try and in which order: each fault, and the sound server in each way in which servers are set up for them."""

from __future__ import annotations

from dataclasses import dataclass

from harness.faults.known import Fault
from harness.faults.matrix import SOUND
from harness.faults.rigs import RIGS, Rig, rigs_for
from schemas import Tier, load_clauses

__all__ = ["Plan", "Trial"]

_SLOW = (Tier.TS, Tier.TC)


@dataclass(frozen=True, slots=True)
class Trial:
    """One server: the gate's `clauses` with a fault, or none, set up as `rig` says. `attempt` counts from 1."""

    name: str
    fault: Fault | None
    rig: Rig
    clauses: tuple[str, ...]
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """own_only: each fault against its own clause alone. jobs: servers at once. side_by_side: active checks at once on one server.

    patience: seconds that the checks of one server may take. second_look: how often a row that is not right is tried again, by so few at
    once that the machine is quiet.
    """

    faults: tuple[Fault, ...]
    own_only: bool
    time_scale: float
    jobs: int
    side_by_side: int
    patience: float
    second_look: int = 1

    def of(self, fault: Fault) -> list[Trial]:
        """The trials of one fault; no clause is judged in two of them."""
        clauses = (fault.clause,) if self.own_only else tuple(load_clauses())
        rigs = rigs_for(fault, clauses)
        return [Trial(fault.name, fault, rig, tuple(each for each in clauses if each in rig.clauses)) for rig in rigs]

    def trials(self) -> list[Trial]:
        """All of them: the sound server first, then what takes long."""
        faults = [trial for fault in self.faults for trial in self.of(fault)]
        wanted = {rig: {id_ for trial in faults if trial.rig is rig for id_ in trial.clauses} for rig in RIGS}
        sound = [Trial(SOUND, None, rig, tuple(id_ for id_ in rig.clauses if id_ in wanted[rig])) for rig in RIGS if wanted[rig]]
        clauses = load_clauses()
        return [*sound, *sorted(faults, key=lambda trial: not any(clauses[id_].tier in _SLOW for id_ in trial.clauses))]
