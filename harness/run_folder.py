"""The folder of a run: its name, what lies where in it, and how it is found again.

A name begins with the moment at which the run began, so folders sort by it, and no folder is ever used twice.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import UsageError

__all__ = ["RunFolder", "find_run", "forget_unbegun", "is_run_name", "new_run_folder", "write_whole"]

_SCENARIO = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_RUN = re.compile(r"(?P<started>\d{8}T\d{6}Z)-[a-z0-9-]+-[0-9a-f]{4}")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where each thing of a run lies. `path` is the folder; nothing here touches the disk."""

    path: Path

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def verdicts(self) -> Path:
        return self.path / "verdicts.json"

    @property
    def report(self) -> Path:
        return self.path / "index.html"

    @property
    def server_log(self) -> Path:
        return self.path / "server.log"


def new_run_folder(reports: Path, scenario: str, now: float) -> Path:
    """Make the folder of a new run: `<UTC time>-<scenario>-<4 hex digits>`, which sorts by start and is never reused.

    now: seconds since the epoch. Raises UsageError when the scenario's name or the reports folder will not do.
    """
    if not _SCENARIO.fullmatch(scenario):
        what = f"the scenario name {scenario!r} cannot be part of a folder's name"
        raise UsageError(what, "run folder", "use small letters, digits and single dashes between them")
    started = datetime.fromtimestamp(int(now), UTC).strftime("%Y%m%dT%H%M%SZ")
    while True:
        folder = reports / f"{started}-{scenario}-{secrets.token_hex(2)}"
        try:
            reports.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except FileExistsError:
            if not reports.is_dir():
                raise UsageError("it is a file", str(reports), "name a folder for the reports") from None
        except OSError as error:
            do = "name a folder for the reports that can be written to, on a disk with room"
            raise UsageError(f"no run folder can be made here ({error.strerror})", str(reports), do) from error
        else:
            return folder


def forget_unbegun(folder: Path) -> None:
    """Remove the folder of a run that was refused before there was any evidence; one with a journal is left alone."""
    if not RunFolder(folder).journal.exists():
        shutil.rmtree(folder, ignore_errors=True)


def find_run(name: str, reports: Path) -> Path:
    """The folder of a run: "latest" (by name, of those in `reports`), a run's name, or a path to it or to its journal.

    Raises UsageError when there is no such run.
    """
    if name == "latest":
        runs = [folder for folder in reports.iterdir() if _is_run(folder)] if reports.is_dir() else []
        if not runs:
            raise UsageError("there is no run yet", str(reports), "make one, or name the folder of a run")
        return max(runs, key=_started)
    for path in (Path(name), reports / name):
        folder = path.parent if path.name == RunFolder(path).journal.name else path
        if RunFolder(folder).journal.is_file():
            return folder
    raise UsageError("there is no journal of a run here", name, 'name the folder of a run, or say "latest"')


def is_run_name(name: str) -> bool:
    """Whether a folder of this name is one that `new_run_folder` made."""
    return _RUN.fullmatch(name) is not None


def _is_run(folder: Path) -> bool:
    return is_run_name(folder.name) and RunFolder(folder).journal.is_file()


def _started(folder: Path) -> tuple[str, int]:
    # Two runs of one second sort by their names' random ends; the later journal decides instead.
    return folder.name.partition("-")[0], RunFolder(folder).journal.stat().st_mtime_ns


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: whoever reads it meanwhile sees the old one. Raises OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(data)
    draft.replace(path)
