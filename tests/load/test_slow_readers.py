"""The scenario slow_readers end to end: a server that cuts off who does not read is acquitted, one that cuts nobody off is convicted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.analysis.slow import SlowStudy
from harness.analysis.summary import Summary, assess
from harness.locust_run import scenario_file
from harness.verdict import Verdict
from tests.load.rig import MACHINE_REASONS, Outcome, run, server

_BACKLOG = 20_000
_CALM, _SLOW = 1.5, 8.0
_HEARTBEAT = ["--heartbeat-interval", "2", "--heartbeat-timeout", "3", "--broadcasts-per-second", "1000"]


def _run(folder: Path, arguments: list[str], **changes: Any) -> tuple[Outcome, Summary]:
    options = {"users": 20, "slow-share": 0.2, "calm": _CALM, "warmup": 0.5, "duration": _CALM + _SLOW, "backlog": _BACKLOG, "drain": 5}
    with server(folder, arguments) as running:
        done = run(running.ready, folder, file=scenario_file("slow_readers"), **{**options, **changes})
    assert done.folder is not None, done.output
    summary = assess(done.folder).summary
    assert done.footer["reason"] == "completed", done.output
    assert {reason.code for reason in summary.reasons} <= MACHINE_REASONS, done.output
    return done, summary


def _fate(summary: Summary) -> SlowStudy:
    study = summary.study
    assert isinstance(study, SlowStudy)
    assert [len(study.of(model)) for model in ("silent", "answering")] == [2, 2]
    return study


def test_a_server_that_cuts_them_off_is_acquitted(tmp_path: Path) -> None:
    done, summary = _run(tmp_path, [*_HEARTBEAT, "--backlog-bytes", str(_BACKLOG)], rate=60, page=True)
    assert 'id="slow"' in done.page()
    study = _fate(summary)
    for reader in study.of("silent"):
        assert reader.cut
        assert 1.0 < reader.after < study.silent_limit + 3.0  # the deadline runs from its last PONG, which is earlier than its last read
    for reader in study.of("answering"):
        assert reader.cut or reader.held < 2 * _BACKLOG, "it was sent enough, and is still there"
    assert {record["reason"] for record in done.of("closed")} <= {"no PONG in time"}, "nobody else was cut off"
    if not summary.reasons:
        assert summary.benchmark("slow_silent").verdict is Verdict.PASS
        assert summary.benchmark("slow_answering").verdict is not Verdict.WARN
        assert summary.benchmark("delivery").verdict is Verdict.PASS, "what a slow one misses is no loss"
        assert summary.benchmark("connections").verdict is Verdict.INFO


def test_a_server_that_cuts_nobody_off_is_convicted(tmp_path: Path) -> None:
    faulty = [*_HEARTBEAT, "--fault", "never-times-out", "--backlog-bytes", "1000000000"]
    done, summary = _run(tmp_path, faulty, rate=40)
    study = _fate(summary)
    assert not any(reader.cut for reader in study.readers)
    silent = summary.benchmark("slow_silent")
    assert (silent.measured or 0.0) > study.silent_limit
    if not summary.reasons:
        assert silent.verdict is Verdict.FAIL
        assert done.code == 1
        assert "2 of 2" in silent.detail
