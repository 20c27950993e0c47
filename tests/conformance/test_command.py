"""`roadmap-harness check` as people run it, a process of its own, against targets that are no good: it ends in bounded time, with the
right exit code and a sentence that helps; and a run that was killed can still be read.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.target import HookCaller, load_target
from tests.conformance.wrong import flood, garbage, greet, listening, profile, upgraded
from tests.server.conftest import Launcher, poll

BOUND = 240.0  # seconds, on a machine that others use as well
HARNESS = [sys.executable, "-m", "harness.cli"]


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    error: str
    seconds: float
    folder: Path | None

    @property
    def data(self) -> dict[str, Any]:
        assert self.folder is not None, self.error
        found: dict[str, Any] = json.loads((self.folder / "conformance.json").read_text("utf-8"))
        return found

    def __str__(self) -> str:
        return f"exit {self.code} after {self.seconds:.0f} s\n{self.out}\n{self.error}"


def check(target: Path, tmp_path: Path, *words: str) -> Ran:
    reports, began = tmp_path / "reports", time.monotonic()
    ran = subprocess.run(
        [*HARNESS, "check", str(target), "--capacity", "no", "--reports", str(reports), *words],
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )
    folders = folders_in(reports)
    assert "Traceback" not in ran.stdout + ran.stderr, ran.stderr
    return Ran(ran.returncode, ran.stdout, ran.stderr, time.monotonic() - began, folders[0] if folders else None)


def folders_in(reports: Path) -> list[Path]:
    """The folders of runs; beside them lies a page over all."""
    return sorted(path for path in reports.iterdir() if path.is_dir()) if reports.exists() else []


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ran = check(profile(tmp_path, port), tmp_path)
    assert ran.code == 3, ran
    assert f"http://127.0.0.1:{port}" in ran.error
    assert "is the server running?" in ran.error
    assert ran.folder is None, "nothing was begun, so there is no run"


def test_it_accepts_and_says_nothing(tmp_path: Path) -> None:
    with listening(lambda sock: time.sleep(BOUND)) as port:
        ran = check(profile(tmp_path, port), tmp_path)
    assert ran.code == 3, ran
    assert "no answer within 10 s" in ran.error


@pytest.mark.parametrize("ended", [1, 25])
def test_it_dies_in_mid_suite(serve: Launcher, tmp_path: Path, ended: int) -> None:
    """A real server, killed as soon as that many checks have ended. Not by what a check sends it: that is ERR-12's matter."""
    server = serve(time_scale=0.1)
    reports = tmp_path / "reports"
    words = [*HARNESS, "check", str(server.state_dir / "ready.json"), "--capacity", "no", "--reports", str(reports)]
    words += [word for section in ("HS", "HB", "CLS", "VOTE", "FUPD", "SUB", "SEC") for word in ("--section", section)]
    began = time.monotonic()
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = "".join(process.stderr.readline() for _ in range(ended))
        server.end(signal.SIGKILL)
        out, error = process.communicate(timeout=BOUND)
    ran = Ran(process.returncode, out, first + error, time.monotonic() - began, folders_in(reports)[0])
    assert ran.code == 3, ran
    assert "the target was lost during the run" in ran.out
    verdicts = {each["verdict"] for each in ran.data["clauses"] if each["selected"]}
    assert "FAIL" not in verdicts
    assert "INCONCLUSIVE" in verdicts


@pytest.mark.parametrize("behaviour", [flood, garbage])
def test_it_floods_or_speaks_garbage(tmp_path: Path, behaviour: Callable[[socket.socket], None]) -> None:
    with listening(lambda sock: upgraded(sock, behaviour)) as port:
        ran = check(profile(tmp_path, port), tmp_path, "--section", "HS", "--section", "GEN", "--clause", "HS-0*", "--clause", "GEN-01")
    assert ran.code == 1, ran
    assert "HS-02 FAIL" in ran.out
    assert "again:" in ran.out


def test_it_lets_everybody_in_and_never_answers_a_hook(tmp_path: Path) -> None:
    with listening(lambda sock: upgraded(sock, greet)) as port:
        ran = check(profile(tmp_path, port), tmp_path, "--clause", "HS-02", "--clause", "VOTE-01", "--clause", "FCRE-01")
    assert ran.code == 1, ran
    told = {each["id"]: each for each in ran.data["clauses"] if each["selected"]}
    assert told["VOTE-01"]["verdict"] == "NOT_TESTABLE"
    assert "404" in told["VOTE-01"]["reason"]


def test_its_hook_answers_500(tmp_path: Path) -> None:
    """A server whose sockets work and whose API does not."""

    def broken(sock: socket.socket) -> None:
        sock.settimeout(BOUND)
        if b"Upgrade: websocket" in sock.recv(4096, socket.MSG_PEEK):
            upgraded(sock, greet)
        else:
            sock.recv(4096)
            sock.sendall(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with listening(broken) as port:
        path = profile(tmp_path, port)
        ran = check(path, tmp_path, "--clause", "VOTE-01", "--clause", "VOTE-03", "--clause", "HS-01")
        alone = check(path, tmp_path / "again", "--clause", "VOTE-01")
    assert ran.code == 0, ran
    told = {each["id"]: each for each in ran.data["clauses"] if each["selected"]}
    assert {id_: each["verdict"] for id_, each in told.items()} == {
        "VOTE-01": "NOT_TESTABLE",
        "VOTE-03": "NOT_TESTABLE",
        "HS-01": "PASS",
    }
    assert "500" in told["VOTE-01"]["reason"]
    assert alone.code == 4, "nothing tested is never green"
    assert "nothing was tested" in alone.out


def test_two_files_of_ones_own_may_be_called_alike(serve: Launcher, tmp_path: Path) -> None:
    ready = serve(time_scale=0.1).state_dir / "ready.json"
    files = []
    for name, clause in (("a", "VOTE-01"), ("b", "VOTE-02")):
        (tmp_path / name).mkdir()
        files.append(tmp_path / name / "test_own.py")
        files[-1].write_text(
            "from harness.conformance import Broken, clause\n"
            f"@clause('{clause}')\ndef test_same(stage):\n    raise Broken('what {name} expects', 'what it sees')\n"
        )
    own = [word for file in files for word in ("--checks", str(file))]
    ran = check(ready, tmp_path, "--clause", "VOTE-01", "--clause", "VOTE-02", *own)
    assert ran.code == 1, ran
    for file, clause in zip(files, ("VOTE-01", "VOTE-02"), strict=True):
        (told,) = (each for each in ran.data["clauses"] if each["id"] == clause)
        assert told["verdict"] == "FAIL"
        assert f"{file}::test_same" in {each["check"] for each in told["checks"]}
        assert len(told["checks"]) == 2


def test_checks_that_cannot_be_loaded_are_a_usage_error(serve: Launcher, tmp_path: Path) -> None:
    ready = serve(time_scale=0.1).state_dir / "ready.json"
    own = tmp_path / "test_own.py"
    own.write_text("import a_module_that_is_not_there\n")
    ran = check(ready, tmp_path, "--clause", "HS-01", "--checks", str(own))
    assert ran.code == 2, ran
    assert "a_module_that_is_not_there" in ran.error
    assert str(own) in ran.error


def test_a_run_that_was_killed_can_be_read(serve: Launcher, tmp_path: Path) -> None:
    """Killed with all its processes when some checks have ended: `report` judges what they found, and says that it was cut short."""
    ready = serve(time_scale=0.1).state_dir / "ready.json"
    reports = tmp_path / "reports"
    words = [*HARNESS, "check", str(ready), "--capacity", "no", "--reports", str(reports), "--seed", "7"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for _ in range(5):
            assert process.stderr.readline()
        pytest_pid = int(subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True).stdout.split()[0])
        process.kill()
        os.kill(pytest_pid, signal.SIGKILL)
    (folder,) = folders_in(reports)
    assert not (folder / "conformance.json").exists()
    header = json.loads((folder / "journal.jsonl").read_text().splitlines()[0])
    assert header["seed"] == 7
    assert header["git"] is None or header["git"]["revision"]
    again = subprocess.run([*HARNESS, "report", str(folder)], capture_output=True, text=True, timeout=BOUND, check=False)
    assert again.returncode == 4, again.stdout + again.stderr
    assert "cut short" in again.stdout
    data = json.loads((folder / "conformance.json").read_text("utf-8"))
    verdicts = [each["verdict"] for each in data["clauses"] if each["selected"]]
    assert verdicts.count("PASS") >= 1
    assert "INCONCLUSIVE" in verdicts
    assert (folder / "index.html").exists()


def test_one_clause_alone_is_quick_to_ask_for(serve: Launcher, tmp_path: Path) -> None:
    """The command that a failure names, typed as it stands."""
    server = serve(time_scale=0.1)
    ran = check(server.state_dir / "ready.json", tmp_path, "--clause", "HS-01", "--quiet")
    assert ran.code == 0, ran
    assert ran.error == ""
    assert poll(lambda: server.process.poll() is None or None, 1.0, "the server to be up")


def test_the_same_verdicts_again_and_again(serve: Launcher, tmp_path: Path) -> None:
    """Several runs on one server: what one uses up, makes or leaves behind is no matter of the next."""
    ready = serve(time_scale=0.1, users=20, admins=4, sessions=60).state_dir / "ready.json"
    found: list[dict[str, str]] = []
    left: list[int] = []
    for number in range(3):
        words = ("--section", "HS", "--section", "CLS", "--section", "VOTE", "--section", "SUB", "--profile", "fast", "--quiet")
        ran = check(ready, tmp_path / str(number), *words)
        assert ran.code == 0, ran
        found.append({each["id"]: each["verdict"] for each in ran.data["clauses"] if each["selected"]})
        left.append(features_of(ready))
    assert found[0] == found[1] == found[2]
    assert not {"FAIL", "WARN", "INCONCLUSIVE"} & set(found[0].values()), found[0]
    assert len(set(left)) == 1, "features were left behind"


def features_of(ready: Path) -> int:
    target = load_target(ready)
    with HookCaller(target, 60.0) as caller:
        return len(caller.call("list", target.sessions(1)[0]).answer.items)
