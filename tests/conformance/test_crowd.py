"""The crowd before a real server: how many fit, what those hear who are in, how they leave; and the house that is filled with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.conformance.crowd import Crowd, Refusal, room, viewers
from harness.conformance.ground import Ground, Options
from harness.conformance.house import full_house
from harness.conformance.stage import Stage
from harness.target import load_target
from schemas import load_clauses
from tests.server.conftest import Launcher

LIMIT = 12
SCALE = 0.05


@pytest.fixture
def stage(serve: Launcher) -> Iterator[Stage]:
    ready: Path = serve(connections=LIMIT, time_scale=SCALE).state_dir / "ready.json"
    ground = Ground(load_target(str(ready)), Options())
    stage = Stage(ground, load_clauses()["LIM-01"], "test")
    yield stage
    stage.close()
    ground.close()


def heard(crowd: Crowd, kind: str, slots: int) -> bool:
    """Whether so many sockets got a message of that type, in good time."""
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline:
        if len(np.unique(crowd.ear.rows().of(crowd.ear.numbers(kind)).slot)) >= slots:
            return True
        time.sleep(0.05)
    return False


def test_a_crowd_fills_the_room_and_is_refused_beyond_it(stage: Stage) -> None:
    apart = stage.connect(stage.user(3))
    assert room(stage) == LIMIT - 1, "sockets that others hold are counted"
    with Crowd(stage, viewers(stage), LIMIT) as crowd:
        assert crowd.fill(LIMIT - 1, 5.0) == []
        refused = crowd.admit()
        assert isinstance(refused, Refusal)
        assert refused.answered
        assert refused.text.startswith("HTTP 503")
        assert crowd.fill(LIMIT, 0.3), "one more never fits"
        assert len(crowd) == LIMIT - 1
    assert apart.closed is None


def test_a_crowd_hears_votes_and_answers_pings(stage: Stage) -> None:
    with Crowd(stage, viewers(stage), LIMIT) as crowd:
        assert crowd.fill(LIMIT, 5.0) == []
        stage.vote(stage.user(2), stage.feature())
        assert heard(crowd, "VOTE_UPDATE", LIMIT)
        for _ in range(3):  # whoever left PINGs unanswered would be closed by then
            assert heard(crowd, "PING", LIMIT)
            time.sleep(stage.limits.heartbeat_interval)
        assert crowd.ear.ended == []
        assert len(crowd) == LIMIT
        rows = crowd.ear.rows()
        assert (np.abs(rows.arrived / 1e9 - time.time()) < 60).all(), "arrivals are on the wall clock"


@pytest.mark.parametrize("abrupt", [False, True])
def test_who_leaves_makes_room(stage: Stage, abrupt: bool) -> None:
    with Crowd(stage, viewers(stage), LIMIT) as crowd:
        assert crowd.fill(LIMIT, 5.0) == []
        crowd.depart(crowd.slots[0], abrupt=abrupt)
        assert len(crowd) == LIMIT - 1
        assert crowd.fill(LIMIT, 5.0) == []
        assert crowd.ear.ended == [], "who left by itself was not ended by the server"


def test_the_end_of_the_server_is_noticed(stage: Stage) -> None:
    with Crowd(stage, viewers(stage), LIMIT) as crowd:
        assert crowd.fill(LIMIT, 5.0) == []
        stage.done("stop")
        deadline = time.monotonic() + 20.0
        while len(crowd) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(crowd) == 0
        assert {ended.code for ended in crowd.ear.ended} == {stage.contract.close.going_away}
        assert len(crowd.ear.ended) == LIMIT


def test_a_house_tells_each_step(stage: Stage) -> None:
    house = full_house(stage)
    assert (house.wanted, house.sockets, house.short) == (LIMIT, LIMIT, "")
    assert isinstance(house.beyond, Refusal)
    assert (house.told, house.pinged, house.ended) == (LIMIT, LIMIT, ())
    assert set(house.freed) == {"a clean close", "a reset"}
    assert None not in house.freed.values()
    assert house.strangers_took == 0
    assert house.memory_before is not None
    assert full_house(stage) is house, "it is filled once a process"
