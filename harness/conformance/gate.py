"""The conformance gate: pre-flight, the checks in one or two passes, and the judgement; bounded in time whatever the target does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from harness.conformance.baseline import read_baseline, updated, write_baseline
from harness.conformance.catalogue import Selection, clauses_of
from harness.conformance.client_side import ClientUnderTest
from harness.conformance.conductor import bound_of
from harness.conformance.ground import SIDE_BY_SIDE
from harness.conformance.judgement import GateResult, Rules, judge
from harness.conformance.nobody import target_or_nobody
from harness.conformance.passes import RunsPass, run_pass
from harness.conformance.records import read_records
from harness.conformance.run_file import KINDS, RESULT, Begun, begin, conclude
from harness.conformance.unchecked import unchecked
from harness.errors import UsageError
from harness.target.model import Target
from harness.target.reach import reach
from schemas import Limits, load_clauses, load_contract

__all__ = ["RESULT", "GateOptions", "run_gate"]

_OVERHEAD = 900.0  # seconds beyond the longest waits that a whole run may take: a last resort, since every check has a bound of its own


@dataclass(frozen=True, slots=True)
class GateOptions:
    """How the checks are run. workers: processes (pytest-xdist) beyond one; side_by_side: active checks at once in a process."""

    workers: int = 1
    side_by_side: int = SIDE_BY_SIDE
    confirm: bool = True
    """Whether what seems broken, or cannot be judged, while this machine is short of processor time is tried once more."""
    seed: int = 1
    """Of what a check leaves to chance: whose turn it is to vote, when a dropped client comes back."""
    capacity: str = "auto"
    second_url: str = ""
    client: str = ""
    client_scale: float = 1.0
    """The pace of the client's clock."""
    checks: Sequence[Path] = ()
    """Files or folders with checks of the user's own."""
    baseline: Path | None = None
    update_baseline: bool = False
    min_coverage: float = 0.0
    allow_inconclusive: bool = False
    preflight: bool = True
    """Whether a target that does not let us in at all is an error, and no clause is judged."""


def run_gate(
    target_name: str,
    selection: Selection,
    folder: Path,
    options: GateOptions,
    progress: Callable[[str], None] = lambda _: None,
    run: RunsPass = run_pass,
) -> GateResult:
    """Run the selected checks against a profile or ready.json, and leave journal, conformance.json and logs in `folder`, an empty one.

    Without a target, but with a client under test, only what judges clients is run. Raises UsageError for a profile, selection, client,
    baseline or checks of the user's own that will not do; TargetUnreachable or LoginRefused when the target does not answer at the
    start. What happens to the target later is in the result.
    """
    if options.baseline is None and options.update_baseline:
        raise UsageError("there is no baseline to be updated", "--update-baseline", "name the file with --baseline FILE")
    exists = options.baseline is not None and (options.baseline.exists() or not options.update_baseline)
    entries = read_baseline(options.baseline) if options.baseline is not None and exists else {}
    if options.client:
        ClientUnderTest.parse(options.client, options.client_scale, load_contract())
    target = target_or_nobody(target_name)
    if target_name:
        if options.preflight:
            reach(target)
    else:
        selection = _of_clients(selection, options)
    folder.mkdir(parents=True, exist_ok=True)
    began, wall = time.monotonic(), time.time()
    facts = {"name": target.name, "base_url": target.base_url, "ws_url": target.ws_url, "profile": target_name}
    begun = Begun(selection, facts, wall, options.seed, options.min_coverage, options.allow_inconclusive, target.levels)
    journal = begin(folder, begun)
    problems = _run_passes(target_name, target, selection, folder, options, wall, progress, run)
    records = list(read_records(folder, KINDS))
    rules = Rules(entries, datetime.now(UTC).date(), options.min_coverage, options.allow_inconclusive)

    def judged(rules: Rules) -> GateResult:
        lasted = time.monotonic() - began
        return judge(
            records,
            selection=selection,
            rules=rules,
            unchecked=unchecked(),
            target=facts,
            duration=lasted,
            problems=problems,
            clauses=clauses_of(target),
        )

    result = judged(rules)
    if options.baseline is not None and options.update_baseline:
        fresh = updated(entries, result.verdicts(), rules.today)
        write_baseline(options.baseline, fresh)
        rules = Rules({entry.clause: entry for entry in fresh}, rules.today, options.min_coverage, options.allow_inconclusive)
        result = judged(rules)
    conclude(journal, result, records, begun)
    return result


def _of_clients(selection: Selection, options: GateOptions) -> Selection:
    """What of a selection can be judged without a target. Raises UsageError when there is nothing."""
    if not options.client:
        raise UsageError("no target was named", "", "give a profile or ready.json, or a client to be judged with --client")
    able = [each for each in load_clauses().values() if "CL" in each.needs]
    kept = tuple(each.id for each in able if selection.why_not(each) is None)
    if not kept:
        raise UsageError("no target was named, and none of the selected clauses is about clients", "", "give a profile, or --section CLI")
    return replace(selection, clauses=kept)


def _run_passes(
    target_name: str,
    target: Target,
    selection: Selection,
    folder: Path,
    options: GateOptions,
    wall: float,
    progress: Callable[[str], None],
    run: RunsPass,
) -> list[str]:
    common = [
        "--target", str(Path(target_name).absolute()) if target_name else "", "--run-began", repr(wall), "--capacity", options.capacity,
        "--second-url", options.second_url, "--client", options.client, "--client-scale", repr(options.client_scale),
        "--side-by-side", str(options.side_by_side), "--seed", str(options.seed),
        "--confirm", "yes" if options.confirm else "no",
        *selection.arguments(),
    ]  # fmt: skip
    seconds = bound_of(_longest(target.limits)) + _OVERHEAD
    if options.client:
        client = ClientUnderTest.parse(options.client, options.client_scale, load_contract())
        seconds += bound_of(_longest(client.limits) + client.extra)
    passes: list[tuple[str, list[str]]] = [("all", [])]
    if options.workers > 1:
        passes = [("shared", ["--only", "shared", "-n", str(options.workers), "--dist", "loadgroup"]), ("alone", ["--only", "alone"])]
    problems = []
    for name, extra in passes:
        passed = run([*common, *extra], options.checks, folder, name, seconds, progress)
        if passed.unloaded is not None and options.checks:
            where = ", ".join(map(str, options.checks))
            raise UsageError(
                f"these checks cannot be loaded: {passed.unloaded}", where, "mend what the message says, or leave --checks out"
            )
        if passed.problem is not None:
            problems.append(passed.problem)
    return problems


def _longest(limits: Limits) -> float:
    """Seconds that the longest of the contract's waits could take, generously."""
    return 3 * limits.revalidate_every + 6 * limits.heartbeat_interval + 2 * limits.persistent_windows * limits.rate_window
