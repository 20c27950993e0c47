"""The conformance gate: pre-flight, the checks in one or two passes, and the judgement; bounded in time whatever the target does."""

from __future__ import annotations

import contextlib
import json
import platform
import time
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from harness.conformance.baseline import read_baseline, updated, write_baseline
from harness.conformance.catalogue import Selection
from harness.conformance.client_side import ClientUnderTest
from harness.conformance.conductor import bound_of
from harness.conformance.judgement import GateResult, Rules, judge
from harness.conformance.nobody import target_or_nobody
from harness.conformance.outputs.document import document
from harness.conformance.passes import run_pass
from harness.conformance.records import read_records
from harness.errors import UsageError
from harness.journal import FORMAT, Journal
from harness.target.model import Target
from harness.target.reach import reach
from schemas import Limits, load_clauses, load_contract

__all__ = ["RESULT", "GateOptions", "run_gate", "unchecked"]

RESULT = "conformance.json"
_KINDS = ("plan", "check", "reading", "lost")
_OVERHEAD = 900.0  # seconds beyond the longest waits that a whole run may take: a last resort, since every check has a bound of its own


@dataclass(frozen=True, slots=True)
class GateOptions:
    """How the checks are run. workers: processes (pytest-xdist) beyond one; side_by_side: active checks at once in a process."""

    workers: int = 1
    side_by_side: int = 8
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


def run_gate(
    target_name: str,
    selection: Selection,
    folder: Path,
    options: GateOptions,
    progress: Callable[[str], None] = lambda _: None,
) -> GateResult:
    """Run the selected checks against a profile or ready.json, and leave journal, conformance.json and logs in `folder`, an empty one.

    Without a target, but with a client under test, only what judges clients is run. Raises UsageError for a profile, selection, client
    or baseline that will not do; TargetUnreachable or LoginRefused when the target does not answer at the start. What happens to the
    target later is in the result.
    """
    if options.baseline is None and options.update_baseline:
        raise UsageError("there is no baseline to be updated", "--update-baseline", "name the file with --baseline FILE")
    exists = options.baseline is not None and (options.baseline.exists() or not options.update_baseline)
    entries = read_baseline(options.baseline) if options.baseline is not None and exists else {}
    if options.client:
        ClientUnderTest.parse(options.client, options.client_scale, load_contract())
    target = target_or_nobody(target_name)
    if target_name:
        reach(target)
    else:
        selection = _of_clients(selection, options)
    folder.mkdir(parents=True, exist_ok=True)
    began, wall = time.monotonic(), time.time()
    problems = _run_passes(target_name, target, selection, folder, options, wall, progress)
    records = list(read_records(folder, _KINDS))
    rules = Rules(entries, datetime.now(UTC).date(), options.min_coverage, options.allow_inconclusive)
    facts = {"name": target.name, "base_url": target.base_url, "ws_url": target.ws_url, "profile": target_name}

    def judged(rules: Rules) -> GateResult:
        lasted = time.monotonic() - began
        return judge(records, selection=selection, rules=rules, unchecked=unchecked(), target=facts, duration=lasted, problems=problems)

    result = judged(rules)
    if options.baseline is not None and options.update_baseline:
        fresh = updated(entries, result.verdicts(), rules.today)
        write_baseline(options.baseline, fresh)
        rules = Rules({entry.clause: entry for entry in fresh}, rules.today, options.min_coverage, options.allow_inconclusive)
        result = judged(rules)
    _keep(folder, result, records, wall)
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


def unchecked() -> dict[str, str]:
    """Clauses that have no check, and why: checks/unchecked.toml. Raises UsageError for an id that is no clause."""
    text = resources.files("harness.conformance.checks").joinpath("unchecked.toml").read_text("utf-8")
    reasons: dict[str, str] = tomllib.loads(text)
    for id_ in reasons:
        if id_ not in load_clauses():
            raise UsageError(f"there is no clause {id_!r}", "checks/unchecked.toml", "write ids of schemas/clauses.toml")
    return reasons


def _run_passes(
    target_name: str,
    target: Target,
    selection: Selection,
    folder: Path,
    options: GateOptions,
    wall: float,
    progress: Callable[[str], None],
) -> list[str]:
    common = [
        "--target", str(Path(target_name).absolute()) if target_name else "", "--run-began", repr(wall), "--capacity", options.capacity,
        "--second-url", options.second_url, "--client", options.client, "--client-scale", repr(options.client_scale),
        "--side-by-side", str(options.side_by_side),
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
        passed = run_pass([*common, *extra], options.checks, folder, name, seconds, progress)
        if passed.problem is not None:
            problems.append(passed.problem)
    return problems


def _longest(limits: Limits) -> float:
    """Seconds that the longest of the contract's waits could take, generously."""
    return 3 * limits.revalidate_every + 6 * limits.heartbeat_interval + 2 * limits.persistent_windows * limits.rate_window


def _keep(folder: Path, result: GateResult, records: Iterable[dict[str, object]], wall: float) -> None:
    """The journal of the whole run, as every run folder has one, and the result as JSON."""
    with contextlib.closing(Journal(folder)) as journal:
        journal.write(
            {
                "kind": "header",
                "format": FORMAT,
                "run": folder.name,
                "scenario": "conformance",
                "started": wall,
                "target": dict(result.target),
                "versions": {"python": platform.python_version()},
            }
        )
        for record in records:
            journal.write(record)
        journal.close({"kind": "footer", "ended": time.time(), "exit_code": int(result.exit_code), "reason": result.reason})
    text = json.dumps(document(result, wall), ensure_ascii=False, indent=1)
    (folder / RESULT).write_text(text + "\n", "utf-8", errors="backslashreplace")
