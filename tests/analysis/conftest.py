"""One good run, made once, and a place to write changed ones to."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.analysis.summary import Assessment, assess
from tests.analysis.builder import Recipe, Record, good, write

Judge = Callable[[list[Record]], Assessment]


@pytest.fixture(scope="session")
def _good() -> list[Record]:
    return good(Recipe())


@pytest.fixture
def records(_good: list[Record]) -> list[Record]:
    """The records of a good small run (60 viewers, 20/s, 6 s), to be changed."""
    return copy.deepcopy(_good)


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """Write records as a journal and judge it."""

    def written(records: list[Record]) -> Assessment:
        number = len(list(tmp_path.iterdir()))
        return assess(write(tmp_path / f"run-{number}", records))

    return written
