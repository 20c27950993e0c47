"""Runs one check: is it testable, what did it say, what is the evidence, and the record of it all.

The rule here: a check ends in exactly one record, whatever happens in it, and no exception of it leaves this room.
"""

from __future__ import annotations

import contextlib
import queue
import shlex
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.conformance.catalogue import Alone, Waits
from harness.conformance.ground import Ground
from harness.conformance.messages import evidence
from harness.conformance.outcome import Broken, Ending, Inconclusive, NotTestable, Recorded, ending_of, verdict_of
from harness.conformance.pressure import mark, pressed
from harness.conformance.records import CheckRecord, Recorder
from harness.conformance.stage import Stage
from harness.errors import HarnessError
from harness.net.connection import Connection
from harness.verdict import Verdict
from schemas import Clause, Level, Limits, load_clauses

__all__ = ["Check", "Conductor", "bound_of", "explain"]

_ROOM = 60.0  # seconds beyond its own waiting that a check may take
_HANDS = 16  # threads that take back what an interrupted run made
_IN_FLIGHT = 0.25  # seconds for what is just being made: it can be taken back only when its id is known
_CONNECTIONS = 6  # whose frames are kept when a check names none itself


@dataclass(frozen=True, slots=True)
class Check:
    """A check function with what its decorator says. `function` takes the fixture values of `pass_as` by name."""

    id: str
    """Which test it is; see plugin.key_of."""
    clause: Clause
    waits: Waits
    alone: Alone
    idle: bool
    hooks: tuple[str, ...]
    function: Callable[..., Any]
    file: str

    def seconds(self, limits: Limits) -> float:
        """How long it waits by design."""
        return self.waits(limits)


def bound_of(seconds: float) -> float:
    """After how many seconds a check that waits this long is given up."""
    return 1.5 * seconds + _ROOM


class Conductor:
    """Keeps the stage and the record of each check of this process. Used from many threads."""

    def __init__(self, ground: Ground, recorder: Recorder, target_name: str, origin: float) -> None:
        self.ground = ground
        self._recorder = recorder
        self._target_name = target_name
        self._origin = origin
        """time.time() at which the run began: what `started` counts from."""
        self._lock = threading.Lock()
        self._stages: dict[str, Stage] = {}
        self.records: dict[str, CheckRecord] = {}

    def seconds(self, check: Check) -> float:
        """How long a check waits by design, on the clock of the one that it judges."""
        client = self.ground.client
        if client is not None and "CL" in check.clause.needs:
            return check.seconds(client.limits) + client.extra
        return check.seconds(self.ground.target.limits)

    def stage(self, check: Check) -> Stage:
        """The one stage of this check."""
        with self._lock:
            if check.id not in self._stages:
                self._stages[check.id] = Stage(self.ground, check.clause, check.id)
            return self._stages[check.id]

    def run(self, check: Check, arguments: Mapping[str, Any]) -> CheckRecord:
        """Run it and record how it ended. `arguments` are the values of its fixtures, the stage among them."""
        began, wall, since = time.monotonic(), time.time(), mark()
        stage = self.stage(check)
        ending = self._ending(check, stage, arguments)
        doubtful = isinstance(ending, Broken | Inconclusive) and self.ground.lost is None
        busy = pressed(since) if doubtful and set(arguments) == {"stage"} and self.ground.options.confirm else None
        seconds = self.seconds(check)
        if busy is not None and time.monotonic() + seconds < began + bound_of(seconds) - _ROOM / 2:
            stage.close()
            with self._lock:
                self._stages[check.id] = stage = Stage(self.ground, check.clause, check.id)
            ending = self._ending(check, stage, {"stage": stage})
            if not isinstance(ending, Broken | Inconclusive):
                stage.note(f"at first it did not look well, while {busy}; tried again it did")
        if isinstance(ending, Broken) and not stage.may_kill and self.ground.is_gone():
            # Sockets end without a Close when their server dies, whatever was asked of it.
            ending = Inconclusive(f"the target was lost during the run: {self.ground.lost}")
        record = self._record(check, stage, ending, wall - self._origin, time.monotonic() - began)
        self.keep(record)
        stage.close()
        return record

    def _ending(self, check: Check, stage: Stage, arguments: Mapping[str, Any]) -> Ending | None:
        ending: Ending | None
        try:
            if self.ground.lost is not None:
                raise Inconclusive(f"the target was lost during the run: {self.ground.lost}")
            self.ground.require(check.clause.needs, check.hooks)
            said = check.function(**arguments)
            ending = said if isinstance(said, Ending) else None
        except HarnessError as error:
            ending = Inconclusive(str(error))
        except (KeyboardInterrupt, SystemExit) as error:
            ending = Inconclusive(f"interrupted ({type(error).__name__})")
        except BaseException as error:
            skipped = getattr(error, "msg", None) if type(error).__name__ == "Skipped" else None
            ending = NotTestable(str(skipped)) if skipped is not None else ending_of(error, check.file)
        for problem in [each for connection in stage.connections for each in connection.observer_errors][:1] if ending is None else []:
            ending = Inconclusive(f"the observer failed: {type(problem).__name__}: {problem}")
        return ending

    def given_up(self, check: Check, seconds: float) -> CheckRecord:
        """The record of a check that did not end in time; what it says later is not heard."""
        ending = Inconclusive(f"the check did not end within {seconds:g} s and was given up")
        record = self._record(check, self.stage(check), ending, time.time() - seconds - self._origin, seconds)
        self.keep(record)
        return record

    def take_back(self, seconds: float) -> None:
        """The run is interrupted: no check makes anything more, and what all of them did to the target is undone, as far as that goes in
        `seconds`. What a process leaves that is killed itself (SIGKILL, out of memory) stays: features titled "Check of ..." or "Made for
        ...", and votes on features that were there before.
        """
        self.ground.interrupted = True
        deadline = time.monotonic() + seconds
        time.sleep(_IN_FLIGHT)
        with self._lock:
            todo = queue.SimpleQueue[Stage]()
            for stage in self._stages.values():
                todo.put(stage)

        def work() -> None:
            with contextlib.suppress(queue.Empty):
                while time.monotonic() < deadline:
                    todo.get_nowait().undo()

        hands = [threading.Thread(target=work, name=f"taking back {number}", daemon=True) for number in range(_HANDS)]
        for hand in hands:
            hand.start()
        for hand in hands:
            hand.join(max(0.0, deadline - time.monotonic()))

    def tidy(self) -> None:
        """Give back what checks that were given up still hold. Called at the very end."""
        for stage in list(self._stages.values()):
            if not stage.closed:
                stage.close()

    def keep(self, record: CheckRecord) -> None:
        """Write a record; the first of a check stands."""
        with self._lock:
            if record.check != "observer" and record.check in self.records:
                return
            if record.check != "observer":
                self.records[record.check] = record
        self._recorder.write(record.as_record(self.command(record.clause)))

    def command(self, clause: str) -> str:
        """What to type to run just this again."""
        words = ["roadmap-harness", "check", *([self._target_name] if self._target_name else []), "--clause", clause]
        if "CL" in load_clauses()[clause].needs and self.ground.client is not None:
            words += ["--client", self.ground.options.client, "--client-scale", f"{self.ground.client.scale:g}"]
        return shlex.join(words)

    def _record(self, check: Check, stage: Stage, ending: Ending | None, started: float, duration: float) -> CheckRecord:
        verdict = verdict_of(ending, check.clause.level)
        hide = self.ground.secrets.hide
        record = CheckRecord(
            clause=check.clause.id,
            check=check.id,
            verdict=verdict,
            readings=dict(stage.readings),
            started=started,
            duration=duration,
        )
        match ending:
            case Broken():
                record = replace(record, expected=hide(ending.expected), observed=hide(ending.observed))
                if check.clause.level is Level.INFO:
                    record = replace(record, reason=record.observed)
            case Recorded():
                record = replace(record, reason=hide(ending.text))
            case NotTestable():
                record = replace(record, reason=hide(ending.reason), hook=ending.hook)
            case Inconclusive():
                record = replace(record, reason=hide(ending.reason))
            case _:
                told = hide("; ".join(stage.notes))
                record = replace(record, reason=told or ("as one would expect" if verdict is Verdict.INFO else ""))
        if verdict in (Verdict.FAIL, Verdict.WARN, Verdict.INCONCLUSIVE) or isinstance(ending, Recorded | Broken):
            played = [replace(each, text=hide(each.text)) for play in stage.played for each in play.records()]
            seen = evidence(self._parts(stage, ending), self.ground.secrets, stage.feature_ids)
            record = replace(record, frames=(*seen, *played))
        return record

    @staticmethod
    def _parts(stage: Stage, ending: Ending | None) -> list[Any]:
        named = ending.frames if isinstance(ending, Broken) else ()
        if not named:
            return list(stage.connections[-_CONNECTIONS:])
        parts: list[Any] = []
        for each in named:
            if isinstance(each, Connection):
                parts.append(each)
            else:
                owner = next((c for c in stage.connections if any(frame is each for frame in c.frames())), None)
                parts.append((owner.name if owner else stage.name, owner.opened_at if owner else each.at, each))
        return parts


def explain(record: CheckRecord, command: str, clause: Clause, *, frames: int = 12) -> str:
    """A record as a person reads it in a terminal: what was due, what came, what had come before, how to see it again."""
    lines = [f"{record.clause} {record.verdict} ({clause.level}): {clause.statement}"]
    section = f"{clause.section.title}, contract {', '.join(clause.lines)}" if clause.lines else clause.section.title
    lines.append(f"  section:  {section}")
    if record.expected:
        lines.append(f"  expected: {record.expected}")
    if record.observed:
        lines.append(f"  observed: {record.observed}")
    if record.reason and record.reason != record.observed:
        lines.append(f"  because:  {record.reason}" + (f" (hook {record.hook})" if record.hook else ""))
    for key, value in record.readings.items():
        lines.append(f"  reading:  {key} = {value}")
    shown = [each for each in record.frames if each.own][-frames:]
    if len(record.frames) > len(shown):
        lines.append(f"  … {len(record.frames) - len(shown)} frames more (other checks' broadcasts among them) are in conformance.json")
    arrow = {"in": "<-", "out": "->"}
    lines += [f"  {each.at:9.3f} s  {each.connection}  {arrow.get(each.direction, '--')} {each.text[:200]}" for each in shown]
    return "\n".join([*lines, f"  again:    {command}"])
