"""A server that is killed, stopped and replaced, for real; and what counts as being back."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.load.reconnect.ground import HookGround, OwnGround
from harness.load.reconnect.plan import Order
from harness.net.handshake import Opened, Refused, open_websocket
from harness.target import Session, Target
from tests.load.rig import until

CLIENTS = 3


def order(target: str = "") -> Order:
    options = SimpleNamespace(target=target, models="contract", causes="killed,expired", outages="1", time_scale=0.5, seed=1,
                              reports="reports", run_folder="", thresholds="")  # fmt: skip
    return Order.of(options, CLIENTS)


def opened(target: Target, session: Session) -> Opened | Refused:
    headers = target.handshake_headers(session)
    return open_websocket(target.ws_url, headers=headers, origin=target.origin, timeout=20.0)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[OwnGround]:
    ground = OwnGround(order(), tmp_path / "server.log")
    yield ground
    ground.close()


def test_a_server_of_our_own_is_replaced_on_its_port_with_its_sessions(ground: OwnGround) -> None:
    target, first = ground.target, ground.pid
    session, spent = target.sessions(2, "regular")
    assert target.limits.heartbeat_interval == pytest.approx(15.0)
    for cause in ("killed", "graceful"):
        assert ground.cannot(cause) is None
        ground.stand_by()
        assert ground.answers()
        ground.take_down(cause)
        ground.bring_back()
        until(ground.answers, "the successor")
        found = opened(target, session)
        assert isinstance(found, Opened)
        found.close()
    assert ground.pid != first
    ground.revoke([spent])
    found = opened(target, spent)
    assert isinstance(found, Refused)
    assert found.status == 401


def test_it_is_as_large_as_the_crowd(ground: OwnGround) -> None:
    session = ground.target.sessions(1)[0]
    inside = [opened(ground.target, session) for _ in range(CLIENTS)]
    assert {type(each) for each in inside} == {Opened}
    more = opened(ground.target, session)
    assert isinstance(more, Refused)
    assert more.status == 503
    for each in inside:
        assert isinstance(each, Opened)
        each.close()


def test_a_target_is_back_when_a_handshake_succeeds_and_not_when_something_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # a proxy that is up before the server behind it
        profile = tmp_path / "target.toml"
        (tmp_path / "cookies.json").write_text('[{"name": "a", "value": "b"}]')
        port = listener.getsockname()[1]
        profile.write_text(
            f'name = "x"\nbase_url = "http://127.0.0.1:{port}"\n[sessions]\nsource = "cookies-file"\npath = "cookies.json"\n'
        )
        ground = HookGround(order(str(profile)))
        began = time.monotonic()
        assert not ground.answers()
        assert time.monotonic() - began >= 0.9  # it was given its second
        assert "stop" in (ground.cannot("graceful") or "")
        assert ground.cannot("killed")
        assert ground.cannot("silent") is None
