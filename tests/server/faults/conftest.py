"""One seeded state directory for all tests of faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from .serving import seeded


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return seeded(tmp_path_factory.mktemp("seeded") / "state")
