"""The journal on real files: kept whole, cut cleanly by a full disk or a kill, and read back the same."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import JournalFull, RunInvalid, UsageError
from harness.journal import FORMAT, Journal, read_journal
from harness.run_folder import RunFolder, find_run, new_run_folder

HEADER: dict[str, Any] = {"kind": "header", "format": FORMAT, "run": "r", "scenario": "s", "started": 1.0}
FOOTER: dict[str, Any] = {"kind": "footer", "ended": 2.0, "reason": "completed", "totals": {}}

WORDS = st.text(max_size=8)
ATOMS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | WORDS
VALUES = ATOMS | st.lists(ATOMS, max_size=4) | st.dictionaries(WORDS, ATOMS, max_size=3)
RECORDS = st.lists(
    st.tuples(st.sampled_from(["event", "second", "casts", "new-kind"]), st.dictionaries(WORDS, VALUES, max_size=3)),
    max_size=8,
)


@settings(max_examples=30)
@given(RECORDS)
def test_what_was_written_is_read_back_in_order_by_kind(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[str, dict[str, Any]]]
) -> None:
    records = [{**rest, "kind": kind} for kind, rest in parts]
    folder = tmp_path_factory.mktemp("run")
    journal = Journal(folder)
    for record in (HEADER, *records):
        assert journal.write(record)
    journal.close(FOOTER)
    data = read_journal(folder)
    assert (data.header, data.footer, data.torn, data.problems) == (HEADER, FOOTER, False, ())
    for kind in {record["kind"] for record in records}:
        wanted = [record for record in records if record["kind"] == kind]
        assert data.all(kind) == wanted
        assert data.count(kind) == len(wanted)
    assert data.all("never-written") == []
    lines = journal.path.read_bytes().splitlines()
    assert len(lines) == len(records) + 2 == journal.kept
    assert [json.loads(line)["kind"] for line in lines[1:-1]] == [record["kind"] for record in records]


def test_numpy_columns_are_plain_json_even_with_strides(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.write(HEADER)
        journal.write(
            {
                "kind": "casts",
                "n": np.arange(4),
                "every_other": np.arange(10.0)[::2],
                "late": np.array([0.5, np.nan]),
                "one": np.float64(2.5),
                "where": tmp_path,
            }
        )
    assert read_journal(tmp_path).all("casts") == [
        {
            "kind": "casts",
            "n": [0, 1, 2, 3],
            "every_other": [0.0, 2.0, 4.0, 6.0, 8.0],
            "late": [0.5, None],
            "one": 2.5,
            "where": str(tmp_path),
        }
    ]


@pytest.mark.parametrize("record", [{}, {"kind": 3}, {"kind": None}])
def test_a_record_without_kind_is_refused_and_nothing_is_written(tmp_path: Path, record: dict[str, Any]) -> None:
    with Journal(tmp_path) as journal:
        with pytest.raises(ValueError, match="kind"):
            journal.write(record)
        with pytest.raises(TypeError):
            journal.write({"kind": "event", "detail": object()})
        assert journal.path.stat().st_size == 0


def test_a_journal_is_never_overwritten(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.write(HEADER)
    before = journal.path.read_bytes()
    with pytest.raises(UsageError, match="never overwritten"):
        Journal(tmp_path)
    assert journal.path.read_bytes() == before
    with pytest.raises(UsageError, match="No such file"):
        Journal(tmp_path / "missing")


def test_sync_at_most_once_a_second(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        times = [100.0, 100.5, 100.999, 101.0, 101.1, 102.0]
        assert [journal.sync(now) for now in times] == [True, False, False, True, False, True]
    assert not journal.sync(200.0)


def test_no_footer_means_cut_short_and_closing_twice_is_harmless(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.write(HEADER)
    journal.close(FOOTER)
    assert journal.closed
    with pytest.raises(ValueError, match="after close"):
        journal.write(FOOTER)
    data = read_journal(tmp_path)
    assert data.footer is None
    assert not data.torn
    assert data.problems == ("there is no footer: the run was cut short",)


@settings(max_examples=50)
@given(st.integers(0, 60))
def test_a_tail_cut_anywhere_costs_only_the_record_that_was_cut(tmp_path_factory: pytest.TempPathFactory, lost: int) -> None:
    folder = tmp_path_factory.mktemp("run")
    with Journal(folder) as journal:
        for record in (HEADER, *({"kind": "event", "t": n, "name": "é" * 9} for n in range(5))):
            journal.write(record)
    whole = journal.path.read_bytes()
    os.truncate(journal.path, len(whole) - lost)
    data = read_journal(folder)
    kept = whole[: len(whole) - lost]
    assert data.all("event") == [json.loads(line) for line in kept.splitlines(True)[1:] if line.endswith(b"\n")]
    assert data.torn == (not kept.endswith(b"\n"))
    assert any("torn" in problem for problem in data.problems) == data.torn


def test_a_spoilt_line_in_the_middle_is_named_and_passed_over(tmp_path: Path) -> None:
    lines = [json.dumps(HEADER), '{"kind":"event","t":1}', '{"kind":"ev', "[1]", '{"t":1}', '{"kind":"event","t":2}']
    RunFolder(tmp_path).journal.write_text("\n".join([*lines, json.dumps(FOOTER), ""]), "utf-8")
    data = read_journal(tmp_path)
    assert [record["t"] for record in data.records("event")] == [1, 2]
    assert data.footer == FOOTER
    assert not data.torn
    assert [re.findall(r"\d+", problem) for problem in data.problems] == [["3"], ["4"], ["5"]]


def test_what_cannot_be_judged_is_refused_with_the_right_exit_code(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no journal"):
        read_journal(tmp_path)
    path = RunFolder(tmp_path).journal
    path.write_bytes(b"")
    with pytest.raises(RunInvalid, match="no header"):
        read_journal(tmp_path)
    for strange in (FORMAT + 1, None, "1"):
        path.write_text(json.dumps({**HEADER, "format": strange}) + "\n", "utf-8")
        with pytest.raises(UsageError, match="format"):
            read_journal(tmp_path)


def test_a_full_device_is_told_once_and_ends_the_journal(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    journal = Journal(tmp_path)
    journal.write(HEADER)
    kept = os.dup(journal.fileno())
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, journal.fileno())
    with pytest.raises(JournalFull) as caught:
        journal.write({"kind": "event"})
    error = caught.value
    assert isinstance(error.__cause__, OSError)
    assert error.__cause__.errno == errno.ENOSPC
    assert error.where == str(journal.path)
    assert "first 1 records" in str(error)
    assert "free some room" in error.do
    assert error.exit_code == 4
    os.dup2(kept, journal.fileno())
    # Room again: still nothing may follow, or the journal would have a hole in its middle.
    assert not journal.write({"kind": "event"})
    assert not journal.sync(10.0)
    journal.close(FOOTER)
    for descriptor in (kept, full):
        os.close(descriptor)
    data = read_journal(tmp_path)
    assert data.footer is None
    assert data.count("event") == 0
    assert journal.failed


FILL = """
import resource, signal, sys
from pathlib import Path
import orjson
from harness.errors import JournalFull
from harness.journal import Journal, read_journal
folder, limit = Path(sys.argv[1]), int(sys.argv[2])
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
journal = Journal(folder)
journal.write({"kind": "header", "format": 1})
try:
    for n in range(10_000):
        journal.write({"kind": "event", "n": n, "text": "x" * 300})
except JournalFull as error:
    journal.close({"kind": "footer"})
    data = read_journal(folder)
    told = {"told": str(error), "kept": [record["n"] for record in data.records("event")], "torn": data.torn}
    told |= {"size": journal.path.stat().st_size, "footer": data.footer, "cause": error.__cause__.errno}
    sys.stdout.buffer.write(orjson.dumps(told))
    sys.exit(int(error.exit_code))
"""

SMALL_DISK = 'mount -t tmpfs -o size=64k tmpfs "$1" && exec "$2" -c "$3" "$1" 0'


def told_when_full(done: subprocess.CompletedProcess[str], path: Path, room: int, cause: int) -> None:
    line = len(b'{"kind":"event","n":100,"text":""}\n') + 300
    assert done.returncode == 4, done.stderr
    report = json.loads(done.stdout)
    kept = report["kept"]
    assert report["cause"] == cause
    assert kept == list(range(len(kept)))
    assert room - line <= report["size"] < room
    assert (report["torn"], report["footer"]) == (False, None)
    assert f"first {len(kept) + 1} records ({report['size']} bytes) are kept" in report["told"]
    assert str(path) in report["told"]


def test_a_file_that_may_not_grow_keeps_every_whole_record_and_no_torn_one(tmp_path: Path) -> None:
    # The system writes the part of a record that still fits (a short write) and refuses the rest.
    limit = 10_000
    argv = [sys.executable, "-c", FILL, str(tmp_path), str(limit)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    told_when_full(done, RunFolder(tmp_path).journal, limit, errno.EFBIG)


def test_a_real_disk_that_fills_up_keeps_every_whole_record_and_no_torn_one(tmp_path: Path) -> None:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-Urm", "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody make a small disk of their own")
    argv = ["unshare", "-Urm", "sh", "-c", SMALL_DISK, "sh", str(tmp_path), sys.executable, FILL]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    told_when_full(done, RunFolder(tmp_path).journal, 64 * 1024, errno.ENOSPC)


WRITE_FOR_EVER = """
import itertools, sys, time
from pathlib import Path
from harness.journal import Journal
journal = Journal(Path(sys.argv[1]))
journal.write({"kind": "header", "format": 1})
for n in itertools.count():
    journal.write({"kind": "event", "n": n, "text": "x" * (n % 5000)})
    journal.sync(time.monotonic())
"""


def test_killed_while_writing_leaves_every_finished_record(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, tmp_path])
    path = RunFolder(tmp_path).journal
    try:
        deadline = time.monotonic() + 60
        while not (path.exists() and path.stat().st_size > 500_000):
            assert time.monotonic() < deadline, "the writer wrote nothing"
            assert writer.poll() is None, "the writer ended by itself"
            time.sleep(0.01)
    finally:
        writer.kill()
        assert writer.wait() == -signal.SIGKILL
    data = read_journal(tmp_path)
    numbers = [record["n"] for record in data.records("event")]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 100
    assert data.footer is None


def test_run_folders_sort_by_start_and_never_collide(tmp_path: Path) -> None:
    started = 1_795_465_000.0  # a moment in November 2026
    names = [new_run_folder(tmp_path / "reports", "ramp-up", started + n).name for n in (0, 0, 0, 1, 60, 86400)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"202611\d\dT\d{6}Z-ramp-up-[0-9a-f]{4}", name) for name in names)
    assert names[3:] == sorted(names[3:])
    assert max(names[:3]) < names[3]


@pytest.mark.parametrize("name", ["", "Ramp", "../x", "a b", "-a", "a--b", "a/b"])
def test_a_scenario_that_cannot_be_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="scenario"):
        new_run_folder(tmp_path, name, 0.0)
    assert not list(tmp_path.iterdir())


def test_a_reports_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "reports"
    file.write_text("", "utf-8")
    for reports in (file, file / "below"):
        with pytest.raises(UsageError):
            new_run_folder(reports, "soak", 0.0)


def test_a_run_is_found_by_name_by_path_by_its_journal_and_as_the_latest(tmp_path: Path) -> None:
    for missing in (tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match="no run yet"):
            find_run("latest", missing)
    older, newer, empty = (new_run_folder(tmp_path, name, at) for name, at in (("soak", 1e9), ("bench", 2e9), ("x", 3e9)))
    for folder in (older, newer):
        Journal(folder).close()
    (tmp_path / "zz-example").mkdir()
    Journal(tmp_path / "zz-example").close()
    assert find_run("latest", tmp_path) == newer
    assert find_run(older.name, tmp_path) == older
    assert find_run(str(older), tmp_path / "elsewhere") == older
    assert find_run(str(RunFolder(older).journal), tmp_path / "elsewhere") == older
    assert find_run("zz-example", tmp_path) == tmp_path / "zz-example"
    with pytest.raises(UsageError, match="no journal"):
        find_run(str(empty), tmp_path)


def test_the_names_in_a_run_folder(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    names = [path.name for path in (run.journal, run.verdicts, run.report, run.server_log)]
    assert names == ["journal.jsonl", "verdicts.json", "index.html", "server.log"]
    assert {path.parent for path in (run.journal, run.verdicts, run.report, run.server_log)} == {tmp_path}
