"""What all checks of one process stand on: the target, its people and features, the pace, the observer, and what was found out
about the target so far. Everything here is made once, on first use, and may be used from many threads.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from harness.conformance.catalogue import clauses_of
from harness.conformance.client_side import ClientUnderTest
from harness.conformance.door import refusal_of
from harness.conformance.features import Features
from harness.conformance.messages import Secrets
from harness.conformance.needs import how_to_have, need_of
from harness.conformance.observer import Observer
from harness.conformance.outcome import Ending, Inconclusive, NotTestable
from harness.conformance.pace import Pace
from harness.conformance.people import People
from harness.target.call import Called, HookCaller
from harness.target.model import Target
from harness.target.session import Session
from schemas import Contract, load_contract, load_readings

__all__ = ["SIDE_BY_SIDE", "Ground", "Options"]

SIDE_BY_SIDE = 24
"""Active checks at once in a process, unless the user says otherwise: most of their time is spent waiting."""
_SHARE = 0.6  # of the contract's broadcasts a second that all checks together may cause
_LOST_AFTER = 3  # connections in a row that got nowhere, until the target counts as gone
_HOOK_SECONDS = 10.0
_FIRST = 3  # sessions of the profile, of which none is good for one run only


@dataclass(frozen=True, slots=True)
class Options:
    """What the user allows and offers beyond the profile. `worker` of `workers` processes."""

    capacity: bool = True
    second_url: str = ""
    client: str = ""
    client_scale: float = 1.0
    seed: int = 1
    confirm: bool = True
    """Whether what seems broken, or cannot be judged, while this machine is short of processor time is tried once more."""
    worker: int = 0
    workers: int = 1


class Ground:
    """One a process. `close` gives back what it holds. say: shows a line to a person who serves the run.

    Raises UsageError when the client that the options name cannot be started.
    """

    def __init__(self, target: Target, options: Options, say: Callable[[str], None] = print) -> None:
        self.target = target
        self.options = options
        self.say = say
        self.contract: Contract = load_contract()
        self.clauses = clauses_of(target)
        """The catalogue, at the levels that the profile gives."""
        self.client = ClientUnderTest.parse(options.client, options.client_scale, self.contract) if options.client else None
        self.secrets = Secrets()
        self.caller = HookCaller(target, _HOOK_SECONDS)
        self.people = People(target, options.worker, options.workers, self._good)
        self.features = Features(target, self.people, self.call_as, options.worker, options.workers)
        self.pace = Pace(_SHARE * target.limits.broadcasts_per_second / options.workers)
        tolerance = target.tolerance
        slack = tolerance.clock_skew + tolerance.slack
        self.observer = Observer(target.readings, slack, self.secrets, self.people.names, target.error_codes)
        self.lost: str | None = None
        """Why the target counts as gone; None while it answers."""
        self.interrupted = False
        """The run is being ended: no check begins anything any more."""
        self.places = threading.Lock()
        """Held by who fills the target up, and by a check of long waits while it opens a socket, which would else be one too many."""
        self._failures = 0
        self._down_allowed = False
        self._lock = threading.Lock()
        self._once: dict[str, threading.Lock] = {}
        self._made: dict[str, Any] = {}
        self._asked: set[str] = set()
        self._holders: list[Callable[[], int]] = []

    def close(self) -> None:
        self.caller.close()

    # ---- how many sockets are open

    def holds_sockets(self, count: Callable[[], int]) -> None:
        """Register somebody who opens sockets; `count` tells how many of them are open now."""
        self._holders.append(count)

    def sockets_open(self) -> int:
        """How many sockets the checks of this process hold open, for those that fill the target up."""
        return sum(count() for count in list(self._holders))

    # ---- things done once

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """What `make` returned or raised the first time, for every caller; others wait for the first."""
        with self._lock:
            lock = self._once.setdefault(key, threading.Lock())
        with lock:
            if key not in self._made:
                try:
                    self._made[key] = (True, make())
                except Exception as error:
                    self._made[key] = (False, error)
            good, value = self._made[key]
        if good:
            return value
        if isinstance(value, Ending):
            raise value.with_traceback(None)
        raise Inconclusive(f"{key} failed: {type(value).__name__}: {value}")

    # ---- is it still there

    def reached(self) -> None:
        """Something answered."""
        self._failures = 0

    def missed(self, problem: str) -> None:
        """A connection got nowhere; after a few in a row the target counts as gone and the rest of the run does not wait for it."""
        if self._down_allowed:
            return
        with self._lock:
            self._failures += 1
            if self._failures >= _LOST_AFTER and self.lost is None:
                self.lost = problem

    def _good(self, session: Session) -> bool:
        """Whether a session is let in, as far as that can be found out now. A target that refuses everybody is a matter for the checks."""
        if self.lost is not None:
            return True
        self.secrets.add(session)
        refusal = refusal_of(self.target, session, _HOOK_SECONDS)
        if refusal is not None and not refusal.answered:
            self.missed(refusal.text)
        return refusal is None or not refusal.of_session or not self.once("is anybody let in", self._lets_somebody_in)

    def _lets_somebody_in(self) -> bool:
        sessions = self.target.available_sessions(_FIRST)
        return any(refusal_of(self.target, each, _HOOK_SECONDS) is None for each in sessions)

    def is_gone(self) -> bool:
        """Whether nothing listens at the target any more, and nobody wanted that: then it is lost, from now on."""
        if self.lost is None and not self._down_allowed and self.target.ws_url:
            for session in self.target.available_sessions(1):
                refusal = refusal_of(self.target, session, _HOOK_SECONDS)
                if refusal is not None and refusal.nobody:
                    self.lost = refusal.text
        return self.lost is not None

    @contextlib.contextmanager
    def may_be_down(self) -> Iterator[None]:
        """For checks that stop the target themselves."""
        self._down_allowed = True
        try:
            yield
        finally:
            self._down_allowed = False
            self._failures = 0

    # ---- hooks

    def call(self, name: str, session: Session | None, *, subject: Session | None = None, **values: Any) -> Called:
        """Call a hook. Raises NotTestable when the profile has none of that name."""
        hook = self.target.hook(name)
        if hook is None:
            raise NotTestable(f"the profile has no hook {name}", name)
        for each in (session, subject):
            if each is not None:
                self.secrets.add(each)
        called = self.caller.call(name, session, subject=subject, **values)
        if called.answer.status == 0 and called.answer.problem and not hook.is_command:
            self.missed(called.answer.problem)
        else:
            self.reached()
        return called

    def call_as(self, name: str, role: str, **values: Any) -> Called:
        """Call a hook as some user of that role, or as nobody where the hook wants nobody."""
        hook = self.target.hook(name)
        if hook is not None and hook.session == "none":
            return self.call(name, None, **values)
        person = self.people.share("admin" if hook is not None and hook.session == "admin" else role, ())
        try:
            return self.call(name, person.sessions[0], **values)
        finally:
            self.people.give_back(person)

    # ---- what a clause needs

    def require(self, needs: tuple[str, ...], hooks: tuple[str, ...]) -> None:
        """Raises NotTestable, naming the hook, when the target lacks one of these or it does not do what it says."""
        for need in needs:
            self.once(f"need {need}", partial(need_of, self, need))
        for name in hooks:
            if self.target.hook(name) is None:
                raise NotTestable(how_to_have(self, name), name)

    # ---- readings

    def reading(self, key: str) -> tuple[str, str]:
        """(reading, "declared" | "detected" | "default") of an ambiguity, by its key."""
        known = {each.key: each for each in load_readings().values()}
        if key not in known:
            raise ValueError(f"there is no reading {key!r}: there are {', '.join(known)}")
        self._asked.add(key)
        declared = self.target.readings.get(key)
        if declared is not None:
            return declared, "declared"
        from harness.conformance.readings import PROBES

        probe = PROBES.get(key)
        found = self.once(f"reading {key}", lambda: self._detect(probe)) if probe is not None else None
        return (known[key].default, "default") if found is None else (found, "detected")

    def _detect(self, probe: Callable[[Ground], str | None]) -> str | None:
        try:
            return probe(self)
        except Ending:
            return None  # what a probe cannot tell is left to the default

    def readings_used(self) -> dict[str, tuple[str, str]]:
        """Every reading that was asked for, besides those that the profile declares."""
        return {key: self.reading(key) for key in sorted({*self._asked, *self.target.readings})}
