"""The doctor on targets that are ill; that it finds the bundled server well is in test_bundled."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from harness.target import Finding, doctor, load_profile
from schemas import load_clauses
from tests.net.peers import WAIT, free_port
from tests.target.api import Reply, Seen, api


def findings(tmp_path: Path, url: str, sessions: list[dict[str, str]], extra: str = "") -> dict[str, Finding]:
    (tmp_path / "c.json").write_bytes(orjson.dumps(sessions))
    file = tmp_path / "target.toml"
    file.write_text(f'name="t"\nbase_url="{url}"\n[sessions]\nsource="cookies-file"\npath="c.json"\n{extra}')
    return {finding.part: finding for finding in doctor(load_profile(file, {}), WAIT, destructive=True)}


def needing(need: str) -> set[str]:
    return {clause.id for clause in load_clauses().values() if need in clause.needs}


def test_nobody_at_home_and_no_session(tmp_path: Path) -> None:
    found = findings(tmp_path, f"http://127.0.0.1:{free_port()}", [])
    assert {finding.state for part, finding in found.items() if part != "this machine"} == {"fails", "missing"}
    assert found["session"].state == found["admin session"].state == "missing"
    assert set(found["admin session"].costs) == needing("UA")
    assert set(found["second session"].costs) == needing("U2")
    assert "there is no voter session to call it with" in found["list"].detail
    assert "the profile gives 0 regular sessions, and 3 are needed" in found["revoke"].detail


def test_a_machine_without_room_for_the_contracts_load_is_told_with_the_number_and_the_fix(tmp_path: Path) -> None:
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (600, 600))\n"
        "from pathlib import Path\nfrom harness.target import doctor, load_profile\n"
        "found = {each.part: each for each in doctor(load_profile(Path(sys.argv[1]), {}))}['this machine']\n"
        "print(found.state, found.detail, found.costs)"
    )
    url = f"http://127.0.0.1:{free_port()}"
    assert "room for 1000 sockets" in findings(tmp_path, url, [])["this machine"].detail
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "target.toml")], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("fails")
    assert "this process may have 600" in done.stdout
    assert "run `ulimit -n" in done.stdout
    assert "LIM-01" in done.stdout


def test_a_target_that_answers_nothing_right(tmp_path: Path) -> None:
    with api(lambda seen: Reply(500)) as server:
        found = findings(tmp_path, server.url, [{"value": "v", "userId": "u"}, {"value": "a", "role": "admin"}])
    assert found["list"].detail == "list answered HTTP 500 where 200 is expected"
    assert found["read"].detail == "there is no feature to try it on: hooks.list found none"
    assert found["update"].detail == "there is no feature of our own to try it on: hooks.create made none"
    assert found["change_role"].detail == "change_role answered HTTP 500 where 200 is expected"
    assert set(found["change_role"].costs) == needing("RL")
    assert found["session"].ok
    assert not found["second session"].ok


def test_a_voter_who_has_voted_before_is_no_fault(tmp_path: Path) -> None:
    voted = {"f"}

    def answer(seen: Seen) -> Reply:
        if seen.path == "/api/roadmap/features" and seen.method == "GET":
            return Reply(200, b'{"features":[{"id":"f","voteCount":1}]}')
        if seen.path.endswith("/vote"):
            if (seen.method == "POST") == ("f" in voted):
                return Reply(409)
            voted.symmetric_difference_update({"f"})
            return Reply(200, b'{"voteCount":%d}' % len(voted))
        return Reply(404)

    with api(answer) as server:
        found = findings(tmp_path, server.url, [{"value": "v"}, {"value": "w"}])
    assert (found["vote"].state, found["unvote"].state) == ("works", "works")
    assert found["vote"].detail == "count 1"
    assert "user id of a session must be known" in found["change_role"].detail


@pytest.mark.parametrize(
    ("resources", "state", "says"),
    [
        ("pid_file = 'none'", "fails", "no process id there"),
        ("command = ['./nobody']", "fails", "there is no program ./nobody here"),
        ("command = ['true']", "works", "the program is there"),
        ("metrics_url = '{url}/metrics'", "works", "answered HTTP 200"),
        ("metrics_url = '{url}/gone'", "fails", "answered HTTP 404"),
        ("metrics_url = 'http://127.0.0.1:{port}/'", "fails", "connection refused"),
    ],
)
def test_ways_to_look_at_the_process(tmp_path: Path, resources: str, state: str, says: str) -> None:
    with api(lambda seen: Reply(200 if seen.path == "/metrics" else 404)) as server:
        table = resources.replace("{url}", server.url).replace("{port}", str(free_port()))
        finding = findings(tmp_path, server.url, [{"value": "v"}], f"[resources]\n{table}\n")["resources"]
    assert finding.state == state
    assert says in finding.detail
    assert set(finding.costs) == (needing("PID") if state == "fails" else set())


def test_programs_that_would_stop_the_target_are_looked_for_but_not_run(tmp_path: Path) -> None:
    hooks = "[hooks.stop]\ncommand = ['touch', 'ran']\n[hooks.start]\ncommand = ['./nobody']\n"
    with api(lambda seen: Reply(404)) as server:
        found = findings(tmp_path, server.url, [{"value": "v"}], hooks)
    assert found["stop"].state == "not tried"
    assert found["start"].detail == "there is no program ./nobody here"
    assert set(found["start"].costs) == needing("SH")
