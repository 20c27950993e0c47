"""One server on trial: start it, run the gate on it, read the verdicts from the gate's file, end it. A bounded time, whatever happens.

The rule: whatever goes wrong on our side is the row's problem, in words, and never a verdict.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.conformance.catalogue import Selection
from harness.conformance.gate import RESULT, GateOptions, run_gate
from harness.errors import HarnessError
from harness.faults.matrix import Row, Seen
from harness.faults.passes import WarmPasses
from harness.faults.plan import Trial
from harness.faults.servers import Servers
from harness.verdict import Verdict
from schemas import load_contract

__all__ = ["Bench"]

_LONGEST = 400  # characters of a reason


@dataclass
class Bench:
    """What trials share. side_by_side: active checks at once in one gate. keep: where the run folders go, a folder for each server."""

    servers: Servers
    passes: WarmPasses
    folder: Path
    time_scale: float
    side_by_side: int

    def run(self, trial: Trial) -> Row:
        """Never raises for what the server or the gate does."""
        began = time.monotonic()
        label = f"{trial.name}-{trial.rig.name.split()[0]}-{trial.attempt}"
        folder = self.folder / "runs" / trial.name / label
        seen: dict[str, Seen] = {}
        problem = ""
        try:
            seen, problem = self._gate(trial, label, folder)
        except HarnessError as error:
            problem = self._clean(str(error))
        except Exception as error:  # the row is lost, the matrix is not
            problem = self._clean(f"the trial itself failed: {type(error).__name__}: {error}")
        return Row(trial.name, seen, time.monotonic() - began, problem, (trial.rig.name,), trial.attempt)

    def _gate(self, trial: Trial, label: str, folder: Path) -> tuple[dict[str, Seen], str]:
        arguments = [*trial.rig.arguments, "--time-scale", f"{self.time_scale:g}", "--log-level", "ERROR"]
        # Short as it is: shrunk as well, it would ask more of a busy machine than any server is asked.
        arguments += ["--batch-window", f"{load_contract().limits.batch_window / self.time_scale:g}"]
        if trial.fault is not None:
            arguments += ["--fault", trial.fault.name]
        served = self.servers.start(label, arguments, secure=trial.rig.secure)
        try:
            options = GateOptions(
                side_by_side=self.side_by_side,
                confirm=trial.fault is None or trial.attempt > 1,  # the first time a faulty server shall be broken, and waits are long
                capacity="yes" if trial.rig.capacity else "no",
                preflight=False,
            )
            run_gate(str(served.target), Selection(clauses=trial.clauses), folder, options, run=self.passes)
            data = json.loads((folder / RESULT).read_bytes())
        finally:
            self.servers.stop(served)
            self.servers.forget(served)
        return self._read(data, trial.clauses), self._clean("; ".join(data["problems"]))

    def _read(self, data: dict[str, Any], clauses: Sequence[str]) -> dict[str, Seen]:
        wanted = set(clauses)
        return {
            each["id"]: Seen(None if each["verdict"] is None else Verdict(each["verdict"]), self._clean(each["reason"] or ""))
            for each in data["clauses"]
            if each["id"] in wanted and each["selected"]
        }

    def _clean(self, text: str) -> str:
        """Without the places of this machine: rows are published."""
        for place in (str(self.folder), sys.prefix, str(Path.cwd()), tempfile.gettempdir()):
            text = text.replace(place, "")
        return " ".join(text.split())[:_LONGEST]

    def forget(self, name: str) -> None:
        """Remove what the gate left of a server that needs no second look."""
        shutil.rmtree(self.folder / "runs" / name, ignore_errors=True)
