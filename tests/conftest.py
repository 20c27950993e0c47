"""Settings for every test of the project: what Hypothesis may take for a defect, and how tests are shared out among processes.

Tests of a module stay together, for they share what is dear: a server, a browser, a page. Modules marked `whole` run programs from start
to end and mostly wait for them: their tests go out one by one, each beside a module that computes, and none of them is left for the end.
"""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no defect
settings.load_profile("project")

_ROOT = Path(__file__).parents[1]


@cache
def _is_whole(file: str) -> bool:
    return "mark.whole" in (_ROOT / file).read_text("utf-8")


def _unit(nodeid: str) -> str:
    """What goes to one process as a whole: a test of such a module, else a module. The controller knows tests by these names alone."""
    file = nodeid.partition("::")[0]
    return nodeid if _is_whole(file) else file


class _Sharing(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return _unit(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Sharing:
    """In the controller: units go out in the order of the collection, whichever process is free."""
    config.option.loadscopereorder = False
    return _Sharing(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a process of many: one that waits, one that computes, and so on."""
    if not hasattr(config, "workerinput"):
        return
    units = [list(unit) for _, unit in itertools.groupby(items, lambda item: _unit(item.nodeid))]
    waiting = [unit for unit in units if _is_whole(unit[0].nodeid.partition("::")[0])]
    computing = [unit for unit in units if unit not in waiting]
    pairs = itertools.zip_longest(waiting, computing, fillvalue=())
    items[:] = itertools.chain.from_iterable(itertools.chain.from_iterable(pairs))
