"""Watches every frame of every connection of a run and judges the clauses that hold for all of them, whatever a check is about.

What is wrong with a message is found by `scrutiny`, what is wrong with a connection by `watch`; here it is counted and becomes
verdicts. The rule: a clause of which nothing was seen has no verdict from here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial

from harness.conformance.messages import Secrets
from harness.conformance.outcome import broke_verdict, worst
from harness.conformance.records import HANDSHAKE, CheckRecord, FrameRecord
from harness.conformance.scrutiny import Finding, Scrutiny
from harness.conformance.watch import Watch
from harness.net.handshake import Headers
from harness.verdict import Verdict
from schemas import Clause, Level

__all__ = ["OBSERVED", "Observer"]

OBSERVED = (
    "GEN-01", "GEN-02", "GEN-03", "GEN-04", "GEN-05", "GEN-06", "GEN-07", "GEN-09",
    "CLS-06", "CLS-07", "ERR-01", "ERR-02", "ERR-13", "VOTE-14", "VOTE-16", "SEC-06", "SEC-08",
)  # fmt: skip
"""The clauses that are judged here. Checks may judge them as well, and should provoke what is to be seen."""

_KEPT = 5  # breaks of one clause that are kept


@dataclass(slots=True)
class _Tally:
    """Of one clause: how much was seen that could have broken it, and the first breaks with their frames."""

    seen: int = 0
    broken: int = 0
    kept: list[tuple[Finding, tuple[FrameRecord, ...]]] = field(default_factory=list)


class Observer:
    """clock_slack: seconds that a timestamp may lie from its arrival. names: the user names known now. error_codes: beside the contract's.

    readings: what the profile declares. Callbacks may come from many threads at once.
    """

    def __init__(
        self,
        readings: Mapping[str, str],
        clock_slack: float,
        secrets: Secrets,
        names: Callable[[], Collection[str]],
        error_codes: Collection[str] = (),
    ) -> None:
        self.readings, self.secrets = readings, secrets
        self.scrutiny = Scrutiny(readings, clock_slack, secrets, names, error_codes)
        self._lock = threading.Lock()
        self._tallies = {id_: _Tally() for id_ in OBSERVED}
        self._regular_open = 0

    def watch(self, name: str, role: str, opened_at: float) -> Watch:
        """The callback for one connection. `name` shows in evidence; `role` is of the session, "" when there is none."""
        return Watch(self, name, role, opened_at)

    def answered(self, name: str, headers: Headers, body: bytes) -> None:
        """How a handshake was answered: no session value may stand there, but in a Set-Cookie, which hands it to its owner."""
        places = [f"the header {key}" for key, value in headers if key.lower() != "set-cookie" and self.secrets.within(value.encode())]
        places += ["the body"] if self.secrets.within(body) else []
        for place in places:
            what = f"{place} of the answer to a handshake shows the value of a session cookie"
            shown = FrameRecord(name, 0.0, "in", HANDSHAKE, f"the answer to the handshake; {place} holds [session]")
            self.broke(Finding("GEN-09", "no session value in anything that is sent", what), partial(tuple, [shown]))

    # ---- what the watches report

    def count(self, *clauses: str, by: int = 1) -> None:
        """So much more was seen that these clauses speak of."""
        with self._lock:
            for id_ in clauses:
                self._tallies[id_].seen += by

    def broke(self, finding: Finding, frames: Callable[[], tuple[FrameRecord, ...]]) -> None:
        """A break was seen. `frames` is asked for the evidence, if it is to be kept: a flood of breaks must not cost as much each."""
        with self._lock:
            tally = self._tallies[finding.clause]
            tally.broken += 1
            if len(tally.kept) >= 2 * _KEPT:
                return
            if len(tally.kept) < _KEPT or not any(finding.observed == kept.observed for kept, _ in tally.kept[:_KEPT]):
                tally.kept.append((finding, frames()))

    def regular(self, change: int) -> None:
        with self._lock:
            self._regular_open += change

    def admin_event(self) -> None:
        """An administrator's socket saw an event of its own: the regular ones that are open now are being tried."""
        with self._lock:
            self._tallies["SEC-06"].seen += self._regular_open

    # ---- the verdicts

    def records(self, admin_events: Callable[[], str], batch_shape: Callable[[], str], selected: Mapping[str, Clause]) -> list[CheckRecord]:
        """A record for each selected clause of which something was seen. The readings are asked for only where they matter."""
        with self._lock:
            tallies = {id_: (tally.seen, tally.broken, list(tally.kept)) for id_, tally in self._tallies.items() if id_ in selected}
        found = []
        for id_, (seen, broken, kept) in tallies.items():
            readings: dict[str, str] = {}
            if kept and id_ == "SEC-06":
                readings["admin_events"] = admin_events()
                if readings["admin_events"] == "everyone":
                    kept, broken = [], 0
            if any(finding.shape for finding, _ in kept):
                readings["batch_shape"] = shape = batch_shape()
                kept = [entry for entry in kept if entry[0].shape != shape or not shape]
                broken = broken if kept else 0
            if not seen and not kept:
                continue
            found.append(_record(id_, selected[id_].level, seen, broken, kept, readings))
        return found


def _record(
    id_: str, level: Level, seen: int, broken: int, kept: list[tuple[Finding, tuple[FrameRecord, ...]]], readings: Mapping[str, str]
) -> CheckRecord:
    verdict = Verdict.INFO if level is Level.INFO else Verdict.PASS
    if not kept:
        return CheckRecord(id_, "observer", verdict, reason=f"{seen} seen, none against it", readings=readings, seen=seen)
    verdict = worst(broke_verdict(level, soft=finding.soft) for finding, _ in kept)
    finding, frames = next(entry for entry in kept if broke_verdict(level, soft=entry[0].soft) is verdict)
    observed = finding.observed if broken == 1 else f"{finding.observed} (and {broken - 1} more)"
    reason = observed if verdict is Verdict.INFO else ""
    return CheckRecord(
        id_, "observer", verdict, finding.expected, observed, reason, readings=readings, frames=frames, seen=max(seen, broken)
    )
