"""Trying every hook for real, and saying what each missing one costs: the clauses that then cannot be tested.

What is changed is changed back: votes are withdrawn and the feature made for the trial is deleted. What cannot be
undone (a revoked session, a stopped server) is not tried unless `destructive` says so.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import HarnessError, UsageError
from harness.measure.limits import Demand, preflight
from harness.target.call import HookCaller
from harness.target.hook import HOOKS, Answer, PreparedRequest
from harness.target.http import HttpClient, NoAnswerError
from harness.target.model import Target
from harness.target.room import machine_toward
from harness.target.session import Session
from schemas import load_clauses, load_contract

__all__ = ["Finding", "doctor"]

State = Literal["works", "fails", "missing", "not tried"]

_NEED = {
    "vote": "V",
    "unvote": "V",
    "create": "AF",
    "update": "AF",
    "delete": "AF",
    "read": "RD",
    "revoke": "RV",
    "change_role": "RL",
    "stop": "SH",
    "start": "SH",
    "resources": "PID",
    "session": "U",
    "second session": "U2",
    "admin session": "UA",
    "this machine": "CAP",
}
"""Which `needs` of a clause each part of a profile serves."""

_OTHER_DESCRIPTORS = 512


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of the profile and how it fared. `costs`: ids of the clauses that cannot be tested while it does not
    work.
    """

    part: str
    state: State
    detail: str
    costs: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return self.state in ("works", "not tried")


def doctor(
    target: Target, timeout: float = 10.0, *, destructive: bool = False, tell: Callable[[Finding], None] = lambda _: None
) -> list[Finding]:
    """A finding for each kind of session, each hook and the resources, in that order; `tell` hears of each as it is made. Raises nothing
    for what a target does.
    """
    found = []
    with HookCaller(target, timeout) as caller:
        for finding in _Doctor(target, caller, timeout, destructive).findings():
            found.append(finding)
            tell(finding)
    return found


def _finding(part: str, state: State, detail: str) -> Finding:
    need = _NEED.get(part)
    costs: tuple[str, ...] = ()
    if state in ("fails", "missing") and need is not None:
        costs = tuple(clause.id for clause in load_clauses().values() if need in clause.needs)
    return Finding(part, state, detail, costs)


class _Doctor:
    def __init__(self, target: Target, caller: HookCaller, timeout: float, destructive: bool) -> None:
        self._target, self._caller, self._timeout, self._destructive = target, caller, timeout, destructive
        self._voter: Session | None = None
        self._admin: Session | None = None
        self._feature: str | None = None
        self._made: str | None = None

    def findings(self) -> Iterator[Finding]:
        yield from self._sessions()
        trials: dict[str, Callable[[], tuple[State, str]]] = {
            "list": self._list,
            "read": lambda: self._on_feature("read"),
            "vote": lambda: self._on_feature("vote"),
            "unvote": lambda: self._on_feature("unvote"),
            "create": self._create,
            "update": self._update,
            "delete": self._delete,
            "change_role": self._change_role,
            "revoke": self._revoke,
            "stop": lambda: self._program("stop"),
            "start": lambda: self._program("start"),
        }
        for name in sorted(HOOKS, key=list(trials).index):
            if self._target.hook(name) is None:
                yield _finding(name, "missing", f"the profile has no hooks.{name}")
                continue
            try:
                state, detail = trials[name]()
            except HarnessError as error:
                state, detail = "fails", str(error)
            yield _finding(name, state, detail)
        yield self._resources()
        yield self._machine()

    def _sessions(self) -> Iterator[Finding]:
        wanted: tuple[tuple[str, int, str | None], ...] = (
            ("session", 1, None),
            ("second session", 2, "regular"),
            ("admin session", 1, "admin"),
        )
        for part, count, role in wanted:
            try:
                found = self._target.sessions(count, role)
            except UsageError as error:
                yield _finding(part, "missing", str(error))
            except HarnessError as error:
                yield _finding(part, "fails", str(error))
            else:
                if role == "regular":
                    self._voter = found[0]
                elif role == "admin":
                    self._admin = found[0]
                elif self._voter is None:
                    self._voter = found[0]
                yield _finding(part, "works", f"cookie {found[0].name}")

    def _call(self, name: str, **values: str) -> Answer:
        hook = self._target.hook(name)
        caller = self._admin if hook is not None and hook.session == "admin" else self._voter
        if caller is None and hook is not None and hook.session != "none":
            raise UsageError(f"there is no {hook.session} session to call it with", hook.where, "add one under [sessions]")
        return self._caller.call(name, caller, subject=None, **values).answer

    @staticmethod
    def _told(answer: Answer, what: str) -> tuple[State, str]:
        return ("works", what) if answer.ok else ("fails", answer.problem or f"answered {answer.status}")

    def _list(self) -> tuple[State, str]:
        answer = self._call("list")
        if answer.items:
            self._feature = answer.items[0].id
        return self._told(answer, f"{len(answer.items)} features")

    def _on_feature(self, name: str) -> tuple[State, str]:
        if self._feature is None:
            return "fails", "there is no feature to try it on: hooks.list found none"
        answer = self._call(name, featureId=self._feature)
        if name == "vote" and not answer.ok and answer.status:
            # The voter may have voted before: withdraw, and try again.
            with contextlib.suppress(HarnessError):
                self._call("unvote", featureId=self._feature)
                answer = self._call(name, featureId=self._feature)
        return self._told(answer, "" if answer.count is None else f"count {answer.count}")

    def _create(self) -> tuple[State, str]:
        status = load_contract().messages.feature_status[0]
        values = {"title": "roadmap-harness doctor", "description": "a trial; it is deleted at once", "status": status}
        answer = self._call("create", **values)
        self._made = answer.id
        return self._told(answer, f"made feature {answer.id}")

    def _update(self) -> tuple[State, str]:
        if self._made is None:
            return "fails", "there is no feature of our own to try it on: hooks.create made none"
        answer = self._call("update", featureId=self._made, status=load_contract().messages.feature_status[-1])
        return self._told(answer, "status changed")

    def _delete(self) -> tuple[State, str]:
        if self._made is None:
            return "fails", "there is no feature of our own to try it on: hooks.create made none"
        return self._told(self._call("delete", featureId=self._made), f"deleted feature {self._made}")

    def _change_role(self) -> tuple[State, str]:
        if self._voter is None or self._voter.user_id is None:
            return "fails", "the user id of a session must be known: give userId in the cookies, or user_id for the sign-in"
        answer = self._call("change_role", userId=self._voter.user_id, role=self._voter.role)
        return self._told(answer, "set the role a user has already")

    def _revoke(self) -> tuple[State, str]:
        if not self._destructive:
            return "not tried", "it would use up a session"
        victim = self._target.sessions(3, "regular")[-1]
        hook = self._target.hook("revoke")
        caller = victim if hook is not None and hook.session == "owner" else self._admin
        answer = self._caller.call("revoke", caller, subject=victim).answer
        return self._told(answer, "one session is used up")

    def _program(self, name: str) -> tuple[State, str]:
        hook = self._target.hook(name)
        if hook is None or not hook.is_command:
            return "not tried", f"it would {name} the target"
        program = hook.command(None)[0]
        if shutil.which(program) is None:
            return "fails", f"there is no program {program} here"
        return "not tried", f"it would {name} the target; its program is there"

    def _resources(self) -> Finding:
        resources = self._target.resources
        if not resources.known:
            return _finding("resources", "missing", "the profile has no [resources]")
        if resources.pid is not None or resources.pid_file is not None:
            pid = resources.find_pid()
            return _finding("resources", "works" if pid else "fails", f"process {pid}" if pid else "no process id there")
        if resources.command is not None:
            there = shutil.which(resources.command[0]) is not None
            detail = "the program is there" if there else f"there is no program {resources.command[0]} here"
            return _finding("resources", "works" if there else "fails", detail)
        client = HttpClient(self._target.tls_context(), self._timeout)
        try:
            answer = client.send(PreparedRequest("GET", resources.metrics_url or "", {}, None))
        except NoAnswerError as error:
            return _finding("resources", "fails", error.problem)
        finally:
            client.close()
        state: State = "works" if answer.status == 200 else "fails"
        return _finding("resources", state, f"{resources.metrics_url} answered HTTP {answer.status}")

    def _machine(self) -> Finding:
        """Can this machine open as many sockets as the contract's load test has? A run asks again, for its own plan."""
        viewers = load_contract().limits.connections
        demand = Demand(viewers + _OTHER_DESCRIPTORS, spawn_rate=0.0, disk=0, ports=viewers)
        try:
            hints = preflight(demand, machine_toward(self._target, Path.cwd()))
        except HarnessError as error:
            return _finding("this machine", "fails", str(error))
        return _finding("this machine", "works", "; ".join([f"room for {viewers} sockets", *hints]))
