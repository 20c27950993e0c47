"""The gate against real targets: the bundled server, which passes, and some that misbehave, which it survives and names."""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path
from urllib.parse import unquote

import jsonschema
import pytest
import trustme
from typer.testing import CliRunner

import harness.conformance as conformance
from harness.conformance.catalogue import Selection
from harness.conformance.cli import app
from harness.conformance.gate import RESULT, GateOptions, run_gate
from harness.conformance.judgement import GateResult
from harness.errors import ExitCode, LoginRefused, TargetUnreachable, UsageError
from harness.target import load_target, reach
from harness.verdict import Verdict
from schemas import load_clauses
from tests.conformance.wrong import greet, listening, profile, upgraded
from tests.server.conftest import Launcher

SECTIONS = Selection(sections=("HS", "CLS"))


def gate(target: Path, folder: Path, selection: Selection, **options: object) -> GateResult:
    return run_gate(str(target), selection, folder / "run", GateOptions(**options))  # type: ignore[arg-type]


def told(result: GateResult) -> str:
    """For the failure of an assertion: what the gate held against the target."""
    return "\n".join(f"{each.clause.id} {each.verdict} {each.reason}" for each in result.selected) + "\n".join(result.problems)


def test_bundled_server_keeps_hs_and_cls(serve: Launcher, tmp_path: Path) -> None:
    ready = serve(time_scale=0.1).state_dir / "ready.json"
    sessions = [each["value"] for each in json.loads((ready.parent / "sessions.json").read_text())]
    result = gate(ready, tmp_path, SECTIONS)
    assert result.exit_code is ExitCode.PASS, told(result)
    data = json.loads((tmp_path / "run" / RESULT).read_text("utf-8"))
    bad = {Verdict.FAIL, Verdict.WARN, Verdict.INCONCLUSIVE}
    assert not bad & set(result.verdicts().values()), told(result)
    not_testable = {id_ for id_, verdict in result.verdicts().items() if verdict is Verdict.NOT_TESTABLE}
    assert not_testable == {"HS-13"}  # no wss
    assert result.verdicts()["CLS-08"] is Verdict.INFO
    again = json.loads(ready.read_text())
    assert again["base_url"] == data["target"]["base_url"], "after the run the target is up again, where it was"
    assert reach(load_target(ready)).handshake_seconds < 60
    assert {each.clause.id for each in result.selected} == {id_ for id_ in load_clauses() if id_.startswith(("HS-", "CLS-"))}
    schema = json.loads((Path(conformance.__file__).parent / "conformance.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(data)
    assert data["readings"]["auth_refusal"]["reading"] == "http401"
    everything = b"".join(path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file())
    tokens = [unquote(value).rpartition(".")[0] for value in sessions]
    assert tokens
    assert not any(secret.encode() in everything for secret in [*sessions, *tokens])


def test_over_tls_the_chain_is_checked_and_the_cookie_has_its_prefix(serve: Launcher, tmp_path: Path) -> None:
    authority = trustme.CA()
    cert, key, ca = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    issued = authority.issue_cert("127.0.0.1")
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(ca)
    data = json.loads((serve(time_scale=0.1, tls_cert=cert, tls_key=key).state_dir / "ready.json").read_text())
    path = tmp_path / "target.toml"
    path.write_text(
        f'name = "secure"\nbase_url = "{data["base_url"]}"\ntime_scale = 0.1\n[tls]\nca_file = "ca.pem"\n'
        f'[sessions]\nsource = "cookies-file"\npath = "{data["sessions_file"]}"\n'
    )
    result = gate(path, tmp_path, Selection(clauses=("HS-01", "HS-06", "HS-13", "VOTE-01")))
    assert set(result.verdicts().values()) == {Verdict.PASS}, told(result)
    assert result.readings["cookie_name"] == ("secure_prefix", "detected")
    path.write_text(path.read_text().replace('ca_file = "ca.pem"', ""))
    with pytest.raises(TargetUnreachable):
        gate(path, tmp_path, Selection(clauses=("HS-01",)))


def test_fast_profile_leaves_out_what_waits(ready: Path, tmp_path: Path) -> None:
    result = gate(ready, tmp_path, Selection(clauses=("CLS-05", "HS-01"), profile="fast"))
    assert result.verdicts() == {"HS-01": Verdict.PASS}
    left = next(each for each in result.clauses if each.clause.id == "CLS-05")
    assert not left.selected
    assert "fast profile" in left.reason


def test_two_processes_share_the_work(ready: Path, tmp_path: Path) -> None:
    result = gate(ready, tmp_path, Selection(clauses=("HS-0*",)), workers=2)
    assert result.exit_code is ExitCode.PASS, told(result)
    assert len(list((tmp_path / "run" / "parts").glob("shared-gw*"))) == 2
    assert set(result.verdicts()) == {f"HS-0{number}" for number in range(1, 10)}


def test_checks_of_the_users_own(ready: Path, tmp_path: Path) -> None:
    own = tmp_path / "test_own.py"
    own.write_text(
        "from harness.conformance import Broken, Inconclusive, Recorded, Stage, clause\n"
        "@clause('VOTE-12')\n"
        "def test_broken(stage: Stage) -> None:\n"
        "    viewer, feature = stage.connect(stage.user(1)), stage.feature()\n"
        "    mark = viewer.mark()\n"
        "    stage.vote(stage.user(0), feature)\n"
        "    stage.absent(viewer, lambda m: m.get('featureId') == feature, since=mark, expected='no VOTE_UPDATE, which is wrong')\n"
        "@clause('VOTE-05')\n"
        "def test_should(stage: Stage) -> None:\n"
        "    raise Broken('one thing', 'another')\n"
        "@clause('VOTE-06')\n"
        "def test_absence(stage: Stage) -> None:\n"
        "    voter, feature = stage.user(0), stage.feature()\n"
        "    own = stage.connect(voter)\n"
        "    mark = own.mark()\n"
        "    stage.vote(voter, feature)\n"
        "    stage.absent(own, lambda m: m.get('featureId') == feature, since=mark)\n"
        "@clause('VOTE-07')\n"
        "def test_info(stage: Stage) -> None:\n"
        "    raise Broken('nobody', 'somebody')\n"
        "@clause('VOTE-01')\n"
        "def test_ours(stage: Stage) -> None:\n"
        "    raise RuntimeError('a bug of ours')\n"
        "@clause('VOTE-02')\n"
        "def test_assertion(stage: Stage) -> None:\n"
        "    assert stage.user(0) == stage.user(1)\n"
        "@clause('SEC-05')\n"
        "def test_missing_fence(stage: Stage) -> None:\n"
        "    viewer = stage.connect(stage.user(0))\n"
        "    viewer.blackhole()\n"
        "    stage.absent(viewer, lambda m: False, since=0)\n"
    )
    result = gate(ready, tmp_path, Selection(clauses=("VOTE-*", "SEC-05", "GEN-0*")), checks=(own,))
    verdicts = result.verdicts()
    assert {id_: verdicts[id_] for id_ in ("VOTE-12", "VOTE-05", "VOTE-06", "VOTE-07", "VOTE-01", "VOTE-02", "SEC-05")} == {
        "VOTE-12": Verdict.FAIL,
        "VOTE-05": Verdict.WARN,
        "VOTE-06": Verdict.PASS,
        "VOTE-07": Verdict.INFO,
        "VOTE-01": Verdict.INCONCLUSIVE,
        "VOTE-02": Verdict.FAIL,
        "SEC-05": Verdict.INCONCLUSIVE,
    }, told(result)
    assert verdicts["GEN-03"] is Verdict.PASS  # the observer saw the votes
    assert result.exit_code is ExitCode.FAIL
    broken = next(each for each in result.clauses if each.clause.id == "VOTE-12")
    assert broken.telling is not None
    assert any("VOTE_UPDATE" in frame.text and frame.own for frame in broken.telling.frames)
    assert broken.command.endswith("--clause VOTE-12")


def test_a_project_may_hold_clauses_to_be_more_or_less_binding(ready: Path, tmp_path: Path) -> None:
    data = json.loads(ready.read_text())
    own, path = tmp_path / "test_own.py", tmp_path / "target.toml"
    own.write_text(
        "from harness.conformance import Broken, clause\n"
        "@clause('VOTE-05')\ndef test_should(stage):\n    raise Broken('a', 'b')\n"
        "@clause('HS-01')\ndef test_must(stage):\n    raise Broken('c', 'd')\n"
    )
    path.write_text(
        f'name = "strict"\nbase_url = "{data["base_url"]}"\ntime_scale = 0.1\nlevels = {{ VOTE-05 = "MUST", HS-01 = "INFO" }}\n'
        f'[sessions]\nsource = "cookies-file"\npath = "{data["sessions_file"]}"\n'
    )
    result = gate(path, tmp_path, Selection(clauses=("VOTE-05", "HS-01", "HS-02")), checks=(own,))
    assert result.verdicts() == {"VOTE-05": Verdict.FAIL, "HS-01": Verdict.INFO, "HS-02": Verdict.PASS}, told(result)
    assert result.readings["levels"] == ("project", "declared")
    assert {each.clause.id: str(each.clause.level) for each in result.selected} == {"VOTE-05": "MUST", "HS-01": "INFO", "HS-02": "MUST"}
    assert result.exit_code is ExitCode.FAIL


def test_baseline_through_the_command_line(ready: Path, tmp_path: Path) -> None:
    own = tmp_path / "test_own.py"
    own.write_text("from harness.conformance import Broken, clause\n@clause('HS-01')\ndef test_never(stage):\n    raise Broken('a', 'b')\n")
    baseline, junit, markdown = tmp_path / "known.toml", tmp_path / "junit.xml", tmp_path / "summary.md"
    common = [str(ready), "--clause", "HS-01", "--clause", "HS-02", "--reports", str(tmp_path / "reports"), "--baseline", str(baseline)]
    runner = CliRunner()
    first = runner.invoke(app, [*common, "--checks", str(own), "--update-baseline", "--junit", str(junit), "--markdown", str(markdown)])
    assert first.exit_code == 0, first.output
    assert 'clause = "HS-01"' in baseline.read_text()
    assert 'skipped="1"' in junit.read_text()
    assert "HS-01" in markdown.read_text()
    cured = runner.invoke(app, common)
    assert cured.exit_code == 1, cured.output
    assert "take the entries out" in cured.output


def test_nobody_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TargetUnreachable):
        gate(profile(tmp_path, port), tmp_path, SECTIONS)


def test_sessions_that_are_not_taken(ready: Path, tmp_path: Path) -> None:
    port = int(json.loads(ready.read_text())["base_url"].rpartition(":")[2])
    with pytest.raises(LoginRefused):
        gate(profile(tmp_path, port), tmp_path, SECTIONS)


def test_a_target_that_lets_nobody_in_is_judged_when_that_is_wanted(tmp_path: Path) -> None:
    """A refusal of every session is the target's doing: no run has used them up."""

    def shut(sock: socket.socket) -> None:
        sock.settimeout(20)
        while b"\r\n\r\n" not in sock.recv(65_536):
            pass
        sock.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with listening(shut) as port:
        result = gate(profile(tmp_path, port), tmp_path, Selection(clauses=("HS-01", "HS-02")), preflight=False)
    assert result.verdicts() == {"HS-01": Verdict.FAIL, "HS-02": Verdict.PASS}, told(result)


def test_a_server_that_lets_everybody_in_and_greets(tmp_path: Path) -> None:
    with listening(lambda sock: upgraded(sock, greet)) as port:
        result = gate(profile(tmp_path, port), tmp_path, Selection(clauses=("HS-*", "CLS-01", "GEN-0*")))
    verdicts = result.verdicts()
    assert result.exit_code is ExitCode.FAIL
    for id_ in ("HS-02", "HS-03", "HS-05", "HS-08", "HS-14", "CLS-01", "GEN-02"):
        assert verdicts[id_] is Verdict.FAIL, told(result)
    assert verdicts["HS-06"] is Verdict.WARN
    assert verdicts["HS-01"] is Verdict.PASS
    assert verdicts["GEN-01"] is Verdict.PASS


def test_a_target_that_dies_in_mid_suite(tmp_path: Path) -> None:
    """It answers the pre-flight, and then resets whatever comes."""
    served = 0

    def dying(sock: socket.socket) -> None:
        nonlocal served
        served += 1
        if served <= 2:
            upgraded(sock, greet)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with listening(dying) as port:
        result = gate(profile(tmp_path, port), tmp_path, Selection(sections=("HS",)))
    assert result.exit_code is ExitCode.UNREACHABLE, told(result)
    assert "lost" in result.reason
    assert Verdict.FAIL not in result.verdicts().values()


def test_a_hook_that_answers_500(ready: Path, tmp_path: Path) -> None:
    data = json.loads(ready.read_text())
    path = tmp_path / "target.toml"
    path.write_text(
        f'name = "sick"\nbase_url = "{data["base_url"]}"\ntime_scale = 0.1\n'
        f'[sessions]\nsource = "cookies-file"\npath = "{data["sessions_file"]}"\n'
        '[hooks.vote]\nmethod = "POST"\npath = "/api/roadmap/nowhere/{featureId}"\n'
    )
    result = gate(path, tmp_path, Selection(clauses=("CLS-09", "HS-01")))
    assert result.verdicts() == {"HS-01": Verdict.PASS, "CLS-09": Verdict.NOT_TESTABLE}, told(result)
    sick = next(each for each in result.clauses if each.clause.id == "CLS-09")
    assert "404" in sick.reason
    assert sick.telling is not None
    assert sick.telling.hook == "vote"


def test_wrong_selections_are_usage_errors(tmp_path: Path) -> None:
    for wrong in ({"clauses": ("XX-01",)}, {"sections": ("XX",)}, {"tiers": ("T9",)}, {"levels": ("MAY",)}, {"profile": "slow"}):
        with pytest.raises(UsageError):
            Selection(**wrong)
    with pytest.raises(UsageError):
        gate(tmp_path / "nothing.toml", tmp_path, SECTIONS)
