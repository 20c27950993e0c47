"""Which analysis a run folder gets, by the scenario that its journal names: the reconnect study has its own, all others share one."""

from __future__ import annotations

from pathlib import Path

from harness.analysis.reconnect.summary import StudyAssessment, StudySummary, analyse_study, assess_study
from harness.analysis.summary import Assessment, Summary, analyse, assess
from harness.journal import read_journal
from harness.run_folder import RunFolder, write_whole

__all__ = ["analyse_run", "assess_run", "keep_verdicts"]

_STUDY = "reconnect"


def assess_run(folder: Path) -> Assessment | StudyAssessment:
    """Read and judge a run folder; nothing is written. Raises HarnessError where there is no journal to read."""
    return assess_study(folder) if _is_study(folder) else assess(folder)


def analyse_run(folder: Path) -> Summary | StudySummary:
    """Judge a run folder and write its verdicts.json. Raises HarnessError like `assess_run`."""
    return analyse_study(folder) if _is_study(folder) else analyse(folder)


def keep_verdicts(folder: Path, assessment: Assessment | StudyAssessment) -> None:
    """Write the verdicts.json of what `assess_run` said, for those who show it as well and would otherwise judge twice."""
    data = assessment.to_json() if isinstance(assessment, StudyAssessment) else assessment.summary.to_json()
    write_whole(RunFolder(folder).verdicts, data)


def _is_study(folder: Path) -> bool:
    return read_journal(folder).header.get("scenario") == _STUDY
