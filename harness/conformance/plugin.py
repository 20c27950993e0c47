"""The pytest plugin: options, the marker, the fixture `stage`, and checks that run side by side in one process.

Load it with `-p harness.conformance.plugin`, or `pytest_plugins = ["harness.conformance.plugin"]` in the conftest.py of a
repository with checks of its own. Tests without a clause are left as they are. Side by side works like this: when the tests
are collected all checks start in threads (the longest first), and pytest's own loop, in its usual order, only collects what
they said; -k, -m and -x work as ever. Under pytest-xdist each worker runs its checks one by one instead.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from harness.conformance.catalogue import FAST_SECONDS, Selection
from harness.conformance.conductor import Check, Conductor, bound_of, explain
from harness.conformance.ground import Ground
from harness.conformance.nobody import target_or_nobody
from harness.conformance.observer import OBSERVED
from harness.conformance.plugin_options import add_options, options_of, selection_of
from harness.conformance.pool import Job, Pool
from harness.conformance.records import CheckRecord, Recorder
from harness.conformance.stage import Stage
from harness.errors import ExitCode, HarnessError
from harness.verdict import Verdict
from schemas import Clause

__all__ = ["PLAN", "PROGRESS", "TAKING_BACK"]

PROGRESS = "::check "
"""What a progress line begins with: for the gate, which reads them."""
PLAN = "PLAN "
"""What the progress line begins with that says how many checks there are, and how many seconds they wait."""

TAKING_BACK = 5.0
"""Seconds that an interrupted run takes at most to withdraw its votes and to delete the features that it made."""

_KEY = pytest.StashKey["_Plugin"]()
_PATIENT = 96  # threads for checks that wait; they cost next to nothing
_ORDER = {"": 0, "load": 1, "idle": 2, "stop": 3}


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "clause(id, ...): the check of one clause; written with harness.conformance.clause")
    config.stash[_KEY] = plugin = _Plugin(config)
    config.pluginmanager.register(plugin, "roadmap-conformance")


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> Stage:
    """What one check may use; see harness.conformance.stage.Stage."""
    plugin = request.config.stash[_KEY]
    if plugin.conductor is None:
        pytest.skip("no target: give --target PROFILE")
    check = plugin.checks.get(key_of(request.node))
    if check is None:
        pytest.fail("the fixture `stage` needs to know the clause: decorate the check with @clause(...)", pytrace=False)
    return plugin.conductor.stage(check)


class _Plugin:
    """One a process. Nothing is made before the first check is collected."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.checks: dict[str, Check] = {}
        self.conductor: Conductor | None = None
        self._recorder: Recorder | None = None
        self._pool: Pool | None = None
        self._selection: Selection | None = None

    # ---- what is to be run

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        marked = [item for item in items if item.get_closest_marker("clause") is not None]
        if not marked:
            return
        if not config.getoption("target") and not config.getoption("client"):
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="no target: give --target PROFILE"))
            return
        try:
            self._prepare()
        except HarnessError as error:
            raise pytest.UsageError(str(error)) from None
        chosen, left = self._choose(marked)
        others = [item for item in items if item not in set(marked)]
        items[:] = [*others, *sorted(chosen, key=self._order)]
        if left:
            config.hook.pytest_deselected(items=left)

    def _prepare(self) -> None:
        option = self.config.getoption
        self._selection = selection_of(self.config)
        target = target_or_nobody(option("target"))
        given: dict[str, Any] = getattr(self.config, "workerinput", {})
        name = str(given.get("workerid", "main"))
        # The last pass of several has people of its own: what an earlier one used up must not be handed out again.
        worker, workers = (int(name[2:]), int(given["workercount"]) + 1) if name.startswith("gw") else (0, 1)
        options = options_of(self.config, target.base_url, worker, workers)
        folder = Path(option("run_folder")) if option("run_folder") and not self._controls() else None
        if option("run_folder") and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # the gate asks us to end in good order
        self._recorder = Recorder(folder, f"{option('only') or 'all'}-{name}")
        ground = Ground(target, options, lambda text: print(f"{PROGRESS}{text}" if folder else text, flush=True))
        self.conductor = Conductor(ground, self._recorder, option("target"), option("run_began") or time.time())

    def _controls(self) -> bool:
        """Whether this is the process that only hands tests to xdist's workers."""
        return not hasattr(self.config, "workerinput") and bool(self.config.getoption("numprocesses", None) or 0)

    def _choose(self, items: list[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
        conductor, selection, recorder = cast(Conductor, self.conductor), cast(Selection, self._selection), cast(Recorder, self._recorder)
        only = self.config.getoption("only")
        targeted = bool(self.config.getoption("target"))
        chosen: list[pytest.Item] = []
        left: list[pytest.Item] = []
        for item in items:
            check = _check(item, conductor.ground.clauses)
            self.checks[key_of(item)] = check
            why = selection.why_not(check.clause)
            if why is None and not targeted and "CL" not in check.clause.needs:
                why = "no target was named, only a client"
            seconds = conductor.seconds(check)
            if why is None and selection.profile == "fast" and seconds > FAST_SECONDS:
                why = f"it waits {seconds:.0f} s, and the fast profile takes checks of up to {FAST_SECONDS:g} s"
            plan = {"kind": "plan", "clause": check.clause.id, "check": check.id, "seconds": seconds, "left_out": why or ""}
            mine = only == "" or (only == "alone") == bool(check.alone)
            if mine:
                recorder.write(plan)
            (chosen if why is None and mine else left).append(item)
        return chosen, left

    def _order(self, item: pytest.Item) -> tuple[int, float]:
        check = self.checks[key_of(item)]
        seconds = cast(Conductor, self.conductor).seconds(check)
        return _ORDER["idle" if check.idle and not check.alone else check.alone], seconds

    # ---- running

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        if self.conductor is not None and not session.config.option.collectonly and not self._by_xdist() and session.testsfailed == 0:
            self._announce(session.items)
            self._start(session.items)
        return (yield)

    def _announce(self, items: list[pytest.Item]) -> None:
        """How many checks there are, and for how long they wait: those that have the target to themselves one after the other."""
        checks = [check for item in items if (check := self.checks.get(key_of(item))) is not None]
        if checks and self.config.getoption("run_folder"):
            seconds = cast(Conductor, self.conductor).seconds
            longest = max((seconds(check) for check in checks if not check.alone), default=0.0)
            print(f"{PROGRESS}{PLAN}{len(checks)} {longest + sum(seconds(check) for check in checks if check.alone):.0f}", flush=True)

    def _by_xdist(self) -> bool:
        return hasattr(self.config, "workerinput") or self._controls()

    def _start(self, items: list[pytest.Item]) -> None:
        conductor = cast(Conductor, self.conductor)
        side = max(1, self.config.getoption("side_by_side"))
        jobs = []
        for item in items:
            check = self.checks.get(key_of(item))
            if check is None or check.alone or not _runs_anywhere(item) or side == 1:
                continue
            seconds = conductor.seconds(check)
            arguments = dict(getattr(getattr(item, "callspec", None), "params", {}))
            jobs.append(Job(check.id, seconds, bound_of(seconds), _work(conductor, check, arguments)))
        self._pool = Pool(side, _PATIENT, FAST_SECONDS)
        # Of those that hardly wait by themselves, the ones that need more of the target take longer.
        self._pool.start(sorted(jobs, key=lambda job: -len(self.checks[job.key].clause.needs)))

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        check = self.checks.get(key_of(pyfuncitem))
        if check is None or self.conductor is None:
            return None
        conductor, key = self.conductor, check.id
        pool = self._pool
        if pool is None or key not in pool:
            seconds = conductor.seconds(check)
            names = pyfuncitem._fixtureinfo.argnames
            arguments = {name: pyfuncitem.funcargs[name] for name in names}
            pool = Pool(1, 1, FAST_SECONDS)
            pool.start([Job(key, seconds, bound_of(seconds), _work(conductor, check, arguments))])
        if not pool.wait(key):
            conductor.given_up(check, bound_of(conductor.seconds(check)))
        record = conductor.records[key]
        pyfuncitem.user_properties.append(("conformance", f"{record.verdict} {record.clause}"))
        self._say(record)
        return True

    def _say(self, record: CheckRecord) -> None:
        command = cast(Conductor, self.conductor).command(record.clause)
        if record.verdict is Verdict.FAIL:
            clause = cast(Conductor, self.conductor).ground.clauses[record.clause]
            pytest.fail(explain(record, command, clause), pytrace=False)
        if record.verdict in (Verdict.NOT_TESTABLE, Verdict.INCONCLUSIVE):
            pytest.skip(f"{record.verdict} {record.clause}: {record.reason}")

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        said = dict(report.user_properties).get("conformance")
        if report.when == "call" and said and self.config.getoption("run_folder") and not hasattr(self.config, "workerinput"):
            print(f"{PROGRESS}{said}", flush=True)

    # ---- the end

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        conductor, recorder = self.conductor, self._recorder
        if conductor is None or recorder is None:
            return
        ground = conductor.ground
        if session.exitstatus == pytest.ExitCode.INTERRUPTED:
            conductor.take_back(TAKING_BACK)
        observed = [] if self._controls() else self._observed(session)
        for record in observed:
            conductor.keep(record)
        for key, (value, source) in ground.readings_used().items():
            recorder.write({"kind": "reading", "key": key, "value": value, "source": source})
        if ground.lost is not None:
            recorder.write({"kind": "lost", "problem": ground.lost})
        if not ground.interrupted:
            conductor.tidy()
        recorder.close()
        ground.close()
        verdicts = {record.verdict for record in (*conductor.records.values(), *observed)}
        if any(record.verdict is Verdict.FAIL for record in observed) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        tested = verdicts & {Verdict.PASS, Verdict.FAIL, Verdict.WARN}
        judged_elsewhere = bool(self.config.getoption("run_folder"))  # by the gate, to whom this status means that nothing was loaded
        if not self._controls() and not judged_elsewhere and not tested and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = int(ExitCode.INVALID)

    def _observed(self, session: pytest.Session) -> list[CheckRecord]:
        conductor, selection = cast(Conductor, self.conductor), cast(Selection, self._selection)
        narrowed = bool(self.config.option.keyword or self.config.option.markexpr)
        kept = {self.checks[key_of(item)].clause.id for item in session.items if key_of(item) in self.checks}
        ground = conductor.ground
        clauses = {id_: ground.clauses[id_] for id_ in OBSERVED}
        wanted = {id_: each for id_, each in clauses.items() if selection.why_not(each) is None and (not narrowed or id_ in kept)}
        return ground.observer.records(lambda: ground.reading("admin_events")[0], lambda: ground.reading("batch_shape")[0], wanted)

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        conductor = self.conductor
        if conductor is None or self._by_xdist():
            return
        for record in conductor.records.values():
            if record.verdict is Verdict.WARN:
                terminalreporter.write_line(explain(record, conductor.command(record.clause), conductor.ground.clauses[record.clause]))


def key_of(item: pytest.Item) -> str:
    """Which test it is: pytest's node id, and outside of its root the whole path, for there two files may have the same id."""
    inside = item.path.is_relative_to(item.config.rootpath)
    return item.nodeid if inside else f"{item.path}::{item.nodeid.partition('::')[2]}"


def _check(item: pytest.Item, clauses: Mapping[str, Clause]) -> Check:
    mark = item.get_closest_marker("clause")
    if mark is None or not isinstance(item, pytest.Function):
        raise pytest.UsageError(f"{item.nodeid}: @clause belongs on a test function")
    return Check(
        id=key_of(item),
        clause=clauses[mark.args[0]],
        waits=mark.kwargs["waits"],
        alone=mark.kwargs["alone"],
        idle=mark.kwargs["idle"],
        hooks=mark.kwargs["hooks"],
        function=item.obj,
        file=str(item.path),
    )


def _runs_anywhere(item: pytest.Item) -> bool:
    """Whether a thread can run it without pytest's help: it asks for the stage and its parameters only."""
    if not isinstance(item, pytest.Function) or item.cls is not None:
        return False
    skipped = any(item.get_closest_marker(name) is not None for name in ("skip", "skipif", "xfail", "usefixtures"))
    params = set(getattr(getattr(item, "callspec", None), "params", {}))
    asked = {name for name in item.fixturenames if not name.startswith("_")}
    return not skipped and asked <= {"stage", "request", *params}


def _work(conductor: Conductor, check: Check, arguments: dict[str, Any]) -> Any:
    def work() -> None:
        conductor.run(check, {"stage": conductor.stage(check), **arguments})

    return work
