"""A place to write studies to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.analysis.reconnect.summary import StudyAssessment, assess_study
from tests.analysis.reconnect.builder import Record, write

Judge = Callable[[list[Record]], StudyAssessment]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """Write records as a journal and judge it."""

    def written(records: list[Record]) -> StudyAssessment:
        number = len(list(tmp_path.iterdir()))
        return assess_study(write(tmp_path / f"run-{number}", records))

    return written
