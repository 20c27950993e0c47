"""`--fault`: each fault starts and leaves the server healthy; names, addresses and imports are looked at before anything starts."""

from __future__ import annotations

import asyncio
import gc
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
import uvloop
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from schemas import load_contract
from server_under_test.app import serve
from server_under_test.errors import StartError
from server_under_test.faults import load_faults
from server_under_test.settings import PREFIX, read_settings
from tests.server.conftest import START_DEADLINE, Launcher, environment_of

from .serving import serving

FAULTS = tuple(load_faults())
AT_ONCE = 8
BATCHES = [FAULTS[start : start + AT_ONCE] for start in range(0, len(FAULTS), AT_ONCE)]


@pytest.fixture(autouse=True)
def thaw() -> Iterator[None]:
    """A server freezes what is in memory when it starts, for it means to stay; this process goes on with other tests."""
    yield
    gc.unfreeze()


@pytest.mark.parametrize("names", BATCHES, ids=lambda names: names[0])
def test_every_fault_starts_and_stays_healthy(names: tuple[str, ...], template: Path, tmp_path: Path) -> None:
    async def one(name: str) -> None:
        async with serving(template, tmp_path / name, name, time_scale=0.01) as server:
            # A handshake, a vote and an edit go through the code of most faults; what comes of them is for other tests.
            feature = await server.first_feature()
            for headers in ({}, server.headers("regular")):
                assert await server.status_of_handshake(headers) in (101, 401, 403, 500)
            assert (await server.call("POST", f"/api/roadmap/features/{feature}/vote", server.headers("regular")))[0] == 200
            assert (await server.call("PATCH", f"/api/roadmap/features/{feature}", server.headers("admin"), {"title": name}))[0] == 200
            status, health = await server.call("GET", "/healthz", {})
            assert (status, health["status"]) == (200, "ok")

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(one(name))

    uvloop.run(all_of_them())


def test_faults_of_a_real_server_are_said_aloud_and_may_be_several(start_server: Launcher) -> None:
    names = ["--fault=first-ping-late", "--fault=voter-unnamed"]
    server = start_server(fault="adds-unannounced", log_level="ERROR")
    assert server.call("GET", "/healthz").status == 200
    assert "FAULT adds-unannounced: this server breaks VOTE-01 on purpose" in server.log.read_text()
    assert server.end() == 0
    settings = read_settings([*names, names[0]], {}, load_contract().limits)
    assert settings.faults == ("first-ping-late", "voter-unnamed")


def refusal(*arguments: str) -> str:
    settings = read_settings(["--port=0", *arguments], {}, load_contract().limits)
    with pytest.raises(StartError) as caught:
        asyncio.run(serve(settings, load_contract()))
    return str(caught.value)


def test_an_unknown_fault_is_refused_with_the_list_of_all() -> None:
    sentence = refusal("--fault=no-such-thing")
    assert "there is no fault 'no-such-thing'" in sentence
    assert all(name in sentence for name in FAULTS)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_a_faulty_server_is_for_this_machine_alone(host: str) -> None:
    assert f"listens on loopback only, not on {host}" in refusal(f"--host={host}", f"--fault={FAULTS[0]}")


def test_no_variable_switches_a_fault_on_and_the_help_warns() -> None:
    variables = {PREFIX + "FAULT": FAULTS[0], PREFIX + "FAULTS": FAULTS[0]}
    assert read_settings([], variables, load_contract().limits).faults == ()
    shown = subprocess.run(
        [sys.executable, "-m", "server_under_test", "--help"], capture_output=True, text=True, timeout=START_DEADLINE, env=environment_of()
    ).stdout
    assert "--fault NAME" in shown
    assert "NEVER" in shown


def test_without_a_fault_nothing_of_them_is_imported() -> None:
    code = (
        "import sys; from schemas import load_contract; from server_under_test import __main__, app, settings\n"
        "parts = app._parts(settings.read_settings({}, {{}}, load_contract().limits))\n"
        "print([name for name in sys.modules if name.startswith('server_under_test.faults')] == [])"
    )
    for given, clean in (("[]", "True"), (f"['--fault={FAULTS[0]}']", "False")):
        done = subprocess.run(
            [sys.executable, "-c", code.format(given)], capture_output=True, text=True, timeout=START_DEADLINE, env=environment_of()
        )
        assert (done.stdout.strip(), done.returncode) == (clean, 0), done.stderr


def test_a_fault_of_tls_shows_over_tls_alone(start_server: Launcher, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    secure = start_server(fault="secure-handshakes-fail", tls_cert=chain, tls_key=key)
    plain = start_server(fault="secure-handshakes-fail")
    headers = {"Cookie": f"{secure.session()['name']}={secure.session()['value']}"}
    with pytest.raises(InvalidStatus) as refused:
        connect(secure.ws_url, ssl=trust, additional_headers=headers, proxy=None, open_timeout=START_DEADLINE)
    assert refused.value.response.status_code == 500
    headers = {"Cookie": f"{plain.session()['name']}={plain.session()['value']}"}
    with connect(plain.ws_url, additional_headers=headers, proxy=None, open_timeout=START_DEADLINE) as opened:
        opened.ping().wait(START_DEADLINE)
