"""Servers under each set of readings, started when a test first asks and kept for the others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from harness.target import Target
from tests.other_server.profile import SETS, target_of
from tests.other_server.running import running

Start = Callable[[str], Target]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """`server("register")`: the target with these readings, six regular users and two administrators, two sessions each."""
    started: dict[str, Target] = {}
    with contextlib.ExitStack() as stack:

        def start(name: str) -> Target:
            if name not in started:
                folder = tmp_path_factory.mktemp(name)
                flags = ("--people", "6", "--staff", "2", "--mint", "2", "--limit", "revalidate_every=2.5")
                ready = stack.enter_context(running(folder, *flags, *SETS[name]))
                started[name] = target_of(ready, sessions="cookies-file")
            return started[name]

        yield start
