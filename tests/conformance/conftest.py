"""A real bundled server with a scaled clock, started as a process, for the gate's own tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.conftest import Launcher

__all__ = ["SCALE"]

SCALE = 0.1


def pytest_configure(config: pytest.Config) -> None:
    """Tests that look into a module of checks import its marks."""
    config.addinivalue_line("markers", "clause(id, ...): the check of one clause; written with harness.conformance.clause")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Launcher]:
    """Starts bundled servers: `serve(time_scale=0.1).state_dir / "ready.json"` is a target."""
    with Launcher(tmp_path) as launch:
        yield launch


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The ready.json of one server, shared by the tests of a module, none of which stops it."""
    with Launcher(tmp_path_factory.mktemp("server")) as launch:
        yield launch(time_scale=SCALE).state_dir / "ready.json"
