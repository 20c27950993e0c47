"""Everything that a run folder says, made again from its files: the page (unless nobody wants it), the text and the exit code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from harness.report.gate_file import FILE, is_cut_short, read_gate
from harness.report.page import has_load_run, write_page
from harness.report.text import gate_text, summary_text
from harness.run_folder import RunFolder

__all__ = ["Rebuilt", "rebuild"]

_WORST_FIRST = (1, 3, 2, 4, 0)  # exit codes: a contract that is broken stays broken, whatever else could not be judged


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """`text` begins with the verdict; `exit_code` is the one that the run's own command ended with, the worse one of two runs. `page` is
    None where none was drawn.
    """

    folder: Path
    page: Path | None
    text: str
    exit_code: int

    def plain(self) -> str:
        """For machines: the load run's verdicts.json or the gate's conformance.json; of both an object with the two under `load` and
        `conformance`.
        """
        folder = RunFolder(self.folder)
        found = {"load": folder.verdicts, "conformance": folder.path / FILE}
        texts = {name: path.read_text("utf-8") for name, path in found.items() if path.is_file()}
        if len(texts) == 1:
            return next(iter(texts.values()))
        return json.dumps({name: json.loads(text) for name, text in texts.items()}, ensure_ascii=False, indent=1) + "\n"


def rebuild(folder: Path, *, page: bool = True) -> Rebuilt:
    """Judge a load run again (and write its verdicts.json), take a gate's result as it stands (judging it now if the
    run was cut short before), and write index.html unless `page` is false.

    Raises HarnessError where there is neither to read.
    """
    folder = Path(folder)
    if is_cut_short(folder):
        from harness.conformance.run_file import rebuild_gate  # a run that was judged needs none of the gate

        rebuild_gate(folder)
    gate = read_gate(folder)
    load = None
    told: list[tuple[int, str]] = []
    if gate is not None:
        told.append((gate.exit_code, gate_text(gate)))
    if has_load_run(folder, gate):
        from harness.analysis.kinds import assess_run, keep_verdicts  # only where there is a load run: pandas takes a second to load

        load = assess_run(folder)
        keep_verdicts(folder, load)
        summary = load.summary
        told.append((summary.exit_code, summary_text(summary)))
    told.sort(key=lambda each: _WORST_FIRST.index(each[0]))
    text, code = "\n".join(text for _, text in told), told[0][0]
    return Rebuilt(folder, write_page(folder, load, gate) if page else None, text, code)
