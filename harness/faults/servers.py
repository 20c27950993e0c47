"""Bundled servers by the dozen: one warm process forks them, each on a copy of a state directory that was seeded once.

A server is a process of its own like any other, known only by its command line and ready.json. The rule: what was started is ended
when this room is left, also what a hook of the gate started in its stead.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

import psutil

from harness.errors import RunInvalid, UsageError

__all__ = ["Served", "Servers"]

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_POLL = 0.02


@dataclass(frozen=True, slots=True)
class Served:
    """A running server. `target` is the file that the gate is given."""

    state: Path
    target: Path
    log: Path
    process: psutil.Process


class Servers:
    """A context manager. `folder` is a private one for state and logs. May be used from many threads once it is entered."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._template = folder / "template"
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._certificate: tuple[Path, Path, Path] | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / "servers.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "server_under_test.faults.many"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        process = self._process
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def seed(self, arguments: Sequence[str]) -> None:
        """Make the state that every server gets a copy of: the hashing of passwords is done once. Raises RunInvalid."""
        served = self._started(self._template, self._folder / "seed.log", arguments)
        self.stop(served)

    def start(self, name: str, arguments: Sequence[str], *, secure: bool = False) -> Served:
        """A server on a free port with a state of its own. secure: over TLS, with a certificate of an authority made for this.

        Raises RunInvalid when it does not start, UsageError when there is nothing to make a certificate with.
        """
        state = self._folder / name
        shutil.copytree(self._template, state)
        state.chmod(0o700)
        words = list(arguments)
        authority = None
        if secure:
            authority, chain, key = self._certified()
            words += ["--tls-cert", str(chain), "--tls-key", str(key)]
        return self._started(state, self._folder / f"{name}.log", words, authority)

    def stop(self, served: Served) -> None:
        """End it, and whatever stands in its place now."""
        processes = [served.process]
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            later = psutil.Process(int(json.loads((served.state / "ready.json").read_bytes())["pid"]))
            if later.pid != served.process.pid:
                processes.append(later)
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        _, alive = psutil.wait_procs(processes, timeout=_STOP_SECONDS)
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=_STOP_SECONDS)

    def forget(self, served: Served) -> None:
        """Remove its state."""
        shutil.rmtree(served.state, ignore_errors=True)
        served.log.unlink(missing_ok=True)

    def _started(self, state: Path, log: Path, arguments: Sequence[str], authority: Path | None = None) -> Served:
        words = ["--port", "0", "--state-dir", str(state), *arguments]
        ready = state / "ready.json"
        deadline = time.monotonic() + _START_SECONDS
        try:
            process = psutil.Process(self._fork([str(log), *words]))
            while not ready.exists():
                if process.status() == psutil.STATUS_ZOMBIE or time.monotonic() > deadline:
                    raise psutil.NoSuchProcess(process.pid)
                time.sleep(_POLL)
        except psutil.NoSuchProcess:  # it may be gone before we can look at it
            said = log.read_text("utf-8", "replace").strip().splitlines() if log.exists() else []
            raise RunInvalid(f"a bundled server did not start: {said[-1] if said else 'it said nothing'}", state.name, "") from None
        if authority is None:
            return Served(state, ready, log, process)
        facts: dict[str, Any] = json.loads(ready.read_bytes())
        target = state / "target.json"
        target.write_text(json.dumps({**facts, "ca_file": str(authority)}), "utf-8")
        return Served(state, target, log, process)

    def _fork(self, words: Sequence[str]) -> int:
        """The process id of a new server."""
        process = self._process
        if process is None:
            raise RuntimeError("servers are started inside the with block")
        with self._lock:
            try:
                stdin, stdout = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
                stdin.write(json.dumps(words).encode() + b"\n")
                stdin.flush()
                return int(stdout.readline())
            except (OSError, ValueError):
                raise RunInvalid("the process that starts bundled servers has ended", str(self._folder / "servers.log"), "") from None

    def _certified(self) -> tuple[Path, Path, Path]:
        """(the authority, the chain, the key) as files; made once."""
        with self._lock:
            if self._certificate is None:
                try:
                    import trustme
                except ImportError:
                    do = "install it (pip install trustme), or leave the faults that need TLS out"
                    raise UsageError("a server over TLS needs a certificate, and trustme is not installed", "", do) from None
                files = tuple(self._folder / name for name in ("authority.pem", "chain.pem", "key.pem"))
                authority = trustme.CA()
                issued = authority.issue_cert("127.0.0.1")
                authority.cert_pem.write_to_path(files[0])
                issued.cert_chain_pems[0].write_to_path(files[1])
                issued.private_key_pem.write_to_path(files[2])
                files[2].chmod(0o600)
                self._certificate = (files[0], files[1], files[2])
            return self._certificate
