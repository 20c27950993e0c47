"""The study end to end: real servers that are stopped, killed and restarted, real Locust, and a profile that lacks the means.

What a busy machine may change (times, who was back within them) is asserted only where the study itself calls the run valid.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.reconnect.summary import StudyAssessment, assess_study
from harness.locust_run import PAGE, scenario_file
from harness.verdict import Overall, Validity, Verdict
from schemas import load_contract
from tests.load.rig import Outcome, outcome, server, until

CLIENTS, SCALE = 24, 0.1
PATIENCE = 400.0
CODES = load_contract().close
_MACHINE_REASONS = {"late", "stall"}


def run(folder: Path, command: list[str], *, page: bool = False, **options: Any) -> Outcome:
    """To the end, on however busy a machine; its page takes seconds to draw."""
    words = [*command, *(word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value)))]
    log = folder / "run.log"
    with log.open("wb") as output:
        code = subprocess.run(
            [*words, "--time-scale", str(SCALE), "--reports", str(folder / "reports")],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False, timeout=PATIENCE,
            env={**os.environ, PAGE: "yes" if page else "no"},
        ).returncode  # fmt: skip
    return outcome(code, log, folder / "reports")


def locust(folder: Path, **options: Any) -> Outcome:
    command = [sys.executable, "-m", "locust", "-f", str(scenario_file("reconnect")), "--headless", "--only-summary"]
    return run(folder, [*command, "--users", str(CLIENTS), "--spawn-rate", str(CLIENTS)], **options)


def assessed(done: Outcome, cells: int) -> StudyAssessment:
    """The study was led to its end, and every cell accounts for every client."""
    assert done.folder is not None, done.output
    assert done.footer["reason"] == "completed", done.output
    assessment = assess_study(done.folder)
    assert len(assessment.evidence.cells) == cells, done.output
    for figures in assessment.evidence.cells:
        held = figures.cell.clients - figures.given_up
        assert figures.cell.attempts["client"].nunique() == CLIENTS
        assert figures.opened >= held
        assert figures.own_failures == 0
    assert {reason.code for reason in assessment.summary.reasons} <= _MACHINE_REASONS, done.output
    assert done.code == assessment.summary.exit_code, done.output
    return assessment


def test_a_server_that_goes_and_comes_back_as_the_command_line_asks_for_it(tmp_path: Path) -> None:
    """No target is named: the study starts, stops, kills and restarts the bundled server itself."""
    bench = [sys.executable, "-m", "harness.cli", "bench", "reconnect"]
    asked = {"causes": "graceful,killed", "models": "contract,sample", "outages": 0.4, "json": tmp_path / "out.json"}
    done = run(tmp_path, bench, page=True, viewers=CLIENTS, **asked)
    assert "report:" in done.output
    assert "Coming back, side by side" in done.page()
    assessment = assessed(done, 4)
    assert (tmp_path / "out.json").read_bytes() == (assessment.study.folder / "verdicts.json").read_bytes()
    assert any(len(figures.cell.resyncs) for figures in assessment.evidence.cells), "some of those who are back fetch the state anew"
    cells = {(figures.cell.cause, figures.cell.model): figures for figures in assessment.evidence.cells}
    for model in ("contract", "sample"):
        assert cells["graceful", model].codes == {CODES.going_away: CLIENTS}
        assert cells["killed", model].codes == {1006: CLIENTS}
    sample = cells["killed", "sample"]
    assert len(sample.attempts) > len(cells["killed", "contract"].attempts)  # they double
    assert sample.given_up > 0  # its attempts are used up, or its own leaks take the places
    assert all(figures.cell.healed is not None and figures.cell.healed >= 0.4 for figures in cells.values())
    if assessment.summary.verdict is Overall.PASS:
        part = assessment.summary.benchmark("server_part").measured
        assert part is not None
        assert part < 0.5  # the times are those that the models foretell, but for what server and machine add


def test_sessions_that_end_a_silent_path_and_a_full_server(tmp_path: Path) -> None:
    assessment = assessed(locust(tmp_path, causes="expired,silent,full", models="contract", outages=0.5), 3)
    expired, silent, full = assessment.evidence.cells
    assert expired.codes == {CODES.session_invalid: CLIENTS}
    assert expired.outcomes == {"401": CLIENTS * load_contract().client.reconnect_attempts}
    assert (expired.given_up, expired.cell.healed) == (CLIENTS, None)
    assert silent.codes == {1006: CLIENTS}
    assert silent.cell.healed is not None
    assert silent.lost.min() >= silent.cell.healed  # nobody hears of it before the path is back
    assert full.refusals.keys() <= {"503", "timeout"}
    assert full.outcomes["503"] > 0
    assert assessment.summary.benchmark("doomed").measured == len(expired.attempts)
    told = json.loads((assessment.study.folder / "verdicts.json").read_text())
    assert [cell["cause"] for cell in told["cells"]] == ["expired", "silent", "full"]


def profile(folder: Path, base_url: str, sessions: Path, hooks: str) -> Path:
    file = folder / "target.toml"
    file.write_text(f'name = "theirs"\nbase_url = "{base_url}"\n[sessions]\nsource = "cookies-file"\npath = "{sessions}"\n{hooks}')
    return file


def test_without_hooks_a_cause_is_not_testable_and_a_server_that_cannot_be_filled_is_not_full(tmp_path: Path) -> None:
    with server(tmp_path, ["--connections", "10"]) as running:
        sessions = Path(json.loads(running.ready.read_text())["sessions_file"])
        target = profile(tmp_path, running.base_url, sessions, "[hooks]\nrevoke = false\n[limits]\nconnections = 40\n")
        done = locust(tmp_path, target=target, causes="graceful,killed,expired,full", models="contract")
    assert done.folder is not None, done.output
    summary = assess_study(done.folder).summary
    assert (summary.validity, done.code) == (Validity.INVALID, 4)
    told = {b.id: b for b in summary.benchmarks if b.verdict is Verdict.NOT_TESTABLE}
    assert set(told) == {"cause_graceful", "cause_killed", "cause_expired"}
    assert "no stop and no start hook" in told["cause_graceful"].detail
    assert "no revoke hook" in told["cause_expired"].detail
    assert summary.benchmark("cause_full").verdict is Verdict.INCONCLUSIVE
    assert "10 of the 40 places" in summary.benchmark("cause_full").detail


def test_a_target_of_its_own_is_stopped_and_started_by_its_hooks(tmp_path: Path) -> None:
    """The hooks are scripts, as a team would write them."""
    state = tmp_path / "state"
    serve = [sys.executable, "-m", "server_under_test", "--port", "0", "--state-dir", str(state), "--time-scale", str(SCALE)]
    with (tmp_path / "server.log").open("wb") as log:
        first = subprocess.Popen(serve, stdout=log, stderr=log)
    try:
        ready = await_ready(state, first)
        port = ready["base_url"].rpartition(":")[2]
        again = [*serve[:4], port, *serve[5:]]
        script = tmp_path / "hook.py"
        script.write_text(_HOOK.format(again=again, state=str(state)))
        words = json.dumps([sys.executable, str(script)])[:-1]
        hooks = f'[hooks]\nstop = {{command = {words}, "stop"]}}\nstart = {{command = {words}, "start"]}}\n'
        text = profile(tmp_path, ready["base_url"], Path(ready["sessions_file"]), hooks)
        text.write_text(f"time_scale = {SCALE}\n{text.read_text()}")
        done = locust(tmp_path, target=text, causes="graceful", models="jittered", outages=0.4)
        (figures,) = assessed(done, 1).evidence.cells
        assert figures.codes == {CODES.going_away: CLIENTS}
        assert figures.cell.healed is not None
    finally:
        subprocess.run([sys.executable, str(tmp_path / "hook.py"), "stop"], check=False, timeout=60)
        first.kill()
        first.wait()


_HOOK = """
import json, os, pathlib, signal, subprocess, sys, time
ready = pathlib.Path({state!r}) / "ready.json"
if sys.argv[1] == "stop":
    os.kill(json.loads(ready.read_text())["pid"], signal.SIGTERM)
else:
    end = time.monotonic() + 60
    while ready.exists() and time.monotonic() < end:
        time.sleep(0.02)
    subprocess.Popen({again!r}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
"""


def await_ready(state: Path, process: subprocess.Popen[bytes]) -> dict[str, str]:
    until(lambda: (state / "ready.json").exists() or process.poll() is not None, "the server")
    found: dict[str, str] = json.loads((state / "ready.json").read_text())
    return found


@pytest.mark.parametrize(("options", "says"), [({"models": "sticky"}, "--models"), ({"processes": 2}, "one process")])
def test_what_cannot_be_is_refused_before_it_begins(tmp_path: Path, options: dict[str, object], says: str) -> None:
    done = locust(tmp_path, **options)
    assert done.code == 2, done.output
    assert says in done.output
    assert done.folder is None


def test_the_command_line_offers_the_studys_own_options() -> None:
    command = [sys.executable, "-m", "harness.cli", "bench", "reconnect", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
    for option in ("--viewers", "--models", "--causes", "--outages", "--time-scale", "--target", "--seed"):
        assert option in told
