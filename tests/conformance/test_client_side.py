"""The CLI group against real clients: it acquits the good ones and convicts each wrong one by the clause that it breaks."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import harness.conformance as conformance
import harness.conformance.checks.test_cli as section
from harness.conformance.catalogue import Selection
from harness.conformance.cli import app
from harness.conformance.client_side import BY_HAND, OPEN, ClientUnderTest, Counterpart
from harness.conformance.client_side.scenes import misfit
from harness.conformance.conductor import Check, Conductor
from harness.conformance.gate import GateOptions, run_gate
from harness.conformance.ground import Ground, Options
from harness.conformance.nobody import nobody
from harness.conformance.records import CheckRecord, Recorder
from harness.errors import UsageError
from harness.net.connection import Connection
from harness.verdict import Verdict
from schemas import load_clauses, load_contract
from tests.conformance.clients.client import DEFECTS, HABITS

pytestmark = pytest.mark.alone

CLIENTS = Path(__file__).parent / "clients"
CONTRACT = load_contract()
SCALE = 0.07
FASTER = 0.05
SLOWER = {"CLI-03": 0.1, "CLI-09": 0.1}  # whose wrong clients must stay wrong when a busy machine makes all of them later
AT_ONCE = 24  # checks that run side by side, two clients each at most

CLAUSES = [id_ for id_ in load_clauses() if id_.startswith("CLI-")]
GUILTY = {
    "never-pongs": ("CLI-01", Verdict.FAIL),
    "late-pong": ("CLI-01", Verdict.FAIL),
    "never-returns": ("CLI-02", Verdict.FAIL),
    "not-after-1001": ("CLI-02", Verdict.WARN),
    "immediate": ("CLI-03", Verdict.WARN),
    "linear": ("CLI-03", Verdict.WARN),
    "constant": ("CLI-03", Verdict.WARN),
    "never-gives-up": ("CLI-04", Verdict.WARN),
    "gives-up-early": ("CLI-04", Verdict.WARN),
    "never-resets": ("CLI-04", Verdict.WARN),
    "returns-after-own-close": ("CLI-05", Verdict.FAIL),
    "two-timers": ("CLI-06", Verdict.WARN),
    "leaks-on-recovery": ("CLI-06", Verdict.WARN),
    "loops-on-4401": ("CLI-07", Verdict.WARN),
    "deaf-to-4401-alone": ("CLI-07", Verdict.WARN),
    "dies-on-unknown-type": ("CLI-08", Verdict.WARN),
    "dies-on-extra-property": ("CLI-08", Verdict.WARN),
    "deaf-after-unknown-type": ("CLI-08", Verdict.WARN),
    "floods": ("CLI-09", Verdict.FAIL),
    "ignores-rate-limit": ("CLI-09", Verdict.FAIL),
    "forgets-subscriptions": ("CLI-10", Verdict.INFO),
}


def command(file: str, how: str = "") -> str:
    return shlex.join([sys.executable, str(CLIENTS / file), "{url}", "{scale}", *([how] if how else [])])


def checks() -> dict[str, Check]:
    """Those of the section, as the plugin collects them."""
    found = {}
    for name, function in vars(section).items():
        for mark in getattr(function, "pytestmark", []) if name.startswith("test_") else []:
            id_ = mark.args[0]
            found[id_] = Check(name, load_clauses()[id_], mark.kwargs["waits"], "", False, (), function, section.__file__ or "")
    return found


def conductor(text: str, scale: float = SCALE) -> Conductor:
    return Conductor(Ground(nobody(), Options(client=text, client_scale=scale)), Recorder(None, ""), "", time.time())


def judged(wanted: Iterable[tuple[str, str, str]], scale: Callable[[str], float] = lambda _: SCALE) -> dict[tuple[str, str], CheckRecord]:
    """The records of (name, command, clause), all side by side; the checks of one name share their scenes."""
    conductors: dict[str, Conductor] = {}
    known = checks()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = {}
        for name, text, id_ in wanted:
            each = conductors.setdefault(name, conductor(text, scale(id_)))
            running[name, id_] = pool.submit(each.run, known[id_], {"stage": each.stage(known[id_])})
        records = {key: future.result() for key, future in running.items()}
    for each in conductors.values():
        each.ground.close()
    return records


def told(record: CheckRecord) -> str:
    """For the failure of an assertion."""
    lines = [f"{frame.at:8.3f} {frame.connection} {frame.direction} {frame.text}" for frame in record.frames]
    return "\n".join([f"{record.clause} {record.verdict} {record.expected} | {record.observed} | {record.reason}", *lines])


def test_every_clause_has_its_check_and_its_wrong_client() -> None:
    assert sorted(checks()) == CLAUSES
    assert sorted(GUILTY) == sorted(DEFECTS)
    assert sorted({id_ for id_, _ in GUILTY.values()}) == CLAUSES


def test_good_clients_are_acquitted() -> None:
    wanted = [("", id_) for id_ in ("CLI-04", *CLAUSES)]
    wanted += [("jitter", id_) for id_ in ("CLI-02", "CLI-03", "CLI-06")]
    wanted += [("unasked-pongs", id_) for id_ in ("CLI-01", "CLI-08", "CLI-09")] + [("chatty", "CLI-09")]
    assert {habit for habit, _ in wanted} == set(HABITS)
    records = judged((habit, command("client.py", habit), id_) for habit, id_ in dict.fromkeys(wanted))
    for (habit, id_), record in records.items():
        assert record.verdict is (Verdict.INFO if id_ == "CLI-10" else Verdict.PASS), f"{habit}: {told(record)}"
    assert records["", "CLI-02"].reason.startswith("the first delay is")
    assert records["", "CLI-10"].reason == "the client subscribes again after a reconnect"
    busy = records["chatty", "CLI-09"].reason
    assert not busy.startswith("at most 0 messages"), busy


def test_each_wrong_client_is_convicted_by_its_clause() -> None:
    slow_first = sorted(GUILTY.items(), key=lambda item: item[1][0] not in ("CLI-04", "CLI-06", "CLI-10", "CLI-03"))
    records = judged(((how, command("client.py", how), id_) for how, (id_, _) in slow_first), lambda id_: SLOWER.get(id_, FASTER))
    for (how, _), record in records.items():
        assert record.verdict is GUILTY[how][1], f"{how}: {told(record)}"
        if record.verdict is not Verdict.INFO:
            assert record.expected, f"{how}: {told(record)}"
            assert record.observed, f"{how}: {told(record)}"
            assert record.frames, f"{how}: no evidence"
    assert records["forgets-subscriptions", "CLI-10"].reason == "the client does not subscribe again after a reconnect (0 of 1 ids)"


def test_the_contracts_sample_has_the_findings_that_the_register_predicts() -> None:
    records = judged(("sample", command("sample.py"), id_) for id_ in CLAUSES)
    found = {id_: record.verdict for (_, id_), record in records.items()}
    warned = ("CLI-03", "CLI-04", "CLI-06", "CLI-07")
    expected = {id_: Verdict.WARN if id_ in warned else Verdict.PASS for id_ in CLAUSES} | {"CLI-10": Verdict.INFO}
    assert found == expected, "\n".join(told(record) for record in records.values())
    assert "under way" in records["sample", "CLI-06"].observed


def test_a_client_alone_through_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    words = ["--client", command("client.py"), "--client-scale", str(SCALE), "--clause", "CLI-05", "--clause", "CLI-08", "--clause", "HS-*"]
    ran = CliRunner().invoke(app, [*words, "--json", str(out), "--reports", str(tmp_path / "reports")], env={"ROADMAP_TARGET": ""})
    assert ran.exit_code == 0, ran.output
    data = json.loads(out.read_text("utf-8"))
    schema = json.loads((Path(conformance.__file__).parent / "conformance.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(data)
    selected = [each for each in data["clauses"] if each["selected"]]
    assert {each["id"]: each["verdict"] for each in selected} == {"CLI-05": "PASS", "CLI-08": "PASS"}
    assert data["target"]["name"] == "no target"
    again = shlex.split(selected[0]["command"])
    assert again == ["roadmap-harness", "check", "--clause", "CLI-05", "--client", command("client.py"), "--client-scale", str(SCALE)]


def test_without_a_client_the_group_is_not_testable() -> None:
    each = Conductor(Ground(nobody(), Options()), Recorder(None, ""), "", time.time())
    for check in checks().values():
        record = each.run(check, {"stage": each.stage(check)})
        assert record.verdict is Verdict.NOT_TESTABLE
        assert "--client" in record.reason
        assert "{url}" in record.reason


@pytest.mark.parametrize(
    ("program", "said"), [("import sys; sys.exit('no such module')", "no such module"), ("pass", "opened no WebSocket")]
)
def test_a_client_that_does_not_connect_is_no_verdict(program: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClientUnderTest, "patience", 2.0)
    each = conductor(shlex.join([sys.executable, "-c", program, "{url}"]))
    check = checks()["CLI-08"]
    record = each.run(check, {"stage": each.stage(check)})
    assert record.verdict is Verdict.INCONCLUSIVE
    assert said in record.reason


def test_by_hand_shows_one_address_at_a_time_and_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The person is a thread that opens whatever address it is shown, and answers PINGs."""
    shown: list[str] = []
    people: list[Connection] = []

    def person(line: str) -> None:
        shown.append(line)
        opened = Connection.open(line.split()[1], timeout=10.0, name="person")
        assert isinstance(opened, Connection)
        people.append(opened)

    ground = Ground(nobody(), Options(client=BY_HAND, client_scale=SCALE), person)
    each = Conductor(ground, Recorder(None, ""), "", time.time())
    known = checks()
    with ThreadPoolExecutor(2) as pool:
        records = list(pool.map(lambda id_: each.run(known[id_], {"stage": each.stage(known[id_])}), ("CLI-08", "CLI-09")))
    for connection in people:
        connection.abort()
    assert [record.verdict for record in records] == [Verdict.PASS, Verdict.PASS], [told(record) for record in records]
    assert len(shown) == 2
    assert len({line.split()[1] for line in shown}) == 1


@pytest.mark.parametrize(
    ("text", "scale"),
    [("", 1.0), ("'", 1.0), ("node client.js", 1.0), ("no-such-program-here {url}", 1.0), (BY_HAND, 0.0), (BY_HAND, float("inf"))],
)
def test_wrong_clients_are_usage_errors(text: str, scale: float) -> None:
    with pytest.raises(UsageError, match="--client"):
        ClientUnderTest.parse(text, scale, CONTRACT)


def test_neither_target_nor_client_is_a_usage_error(tmp_path: Path) -> None:
    for selection, options in ((Selection(), GateOptions()), (Selection(sections=("HS",)), GateOptions(client=BY_HAND))):
        with pytest.raises(UsageError, match="no target was named"):
            run_gate("", selection, tmp_path / "run", options)


def test_the_counterpart_sees_what_asks_for_no_websocket_apart() -> None:
    import urllib.error
    import urllib.request

    server = Counterpart("/ws")
    try:
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/auth/login", timeout=10)
        assert server.requests == ["GET /auth/login HTTP/1.1"]
        assert server.attempts == []
        server.door = lambda _: OPEN
        client = Connection.open(server.url, timeout=10.0, name="client")
        assert isinstance(client, Connection)
        with client:
            assert server.wait(lambda: server.live(), 10)
            server.live()[0].close(1001, "away")
            closed = client.wait_closed(10)
            assert closed is not None
            assert (closed.code, closed.reason) == (1001, "away")
        assert server.wait(lambda: not server.live(), 10)
    finally:
        server.stop()


def spec(scale: float) -> ClientUnderTest:
    return ClientUnderTest.parse(BY_HAND, scale, CONTRACT)


def due(scale: float) -> list[float]:
    rules = CONTRACT.client
    return [min(rules.reconnect_base * 2**index, rules.reconnect_cap) * scale for index in range(rules.reconnect_attempts)]


SCALES = st.sampled_from([0.1, 0.3, 1.0])


@given(scale=SCALES, late=st.lists(st.floats(0, 0.5), min_size=5, max_size=5), reading=st.sampled_from(["either", "sample"]))
def test_doubling_delays_fit_however_late_they_are_seen(scale: float, late: list[float], reading: str) -> None:
    seen = [delay + more for delay, more in zip(due(scale), late, strict=True)]
    assert misfit(seen, spec(scale), reading, 1.0) is None


@given(scale=SCALES, factors=st.lists(st.floats(0.55, 1.45), min_size=5, max_size=5))
def test_jitter_of_up_to_a_half_fits(scale: float, factors: list[float]) -> None:
    seen = [delay * factor for delay, factor in zip(due(scale), factors, strict=True)]
    assert misfit(seen, spec(scale), "either", 1.0) is None


@given(scale=SCALES, first=st.floats(0, 1.5), step=st.floats(0, 1), late=st.floats(0, 0.02))
def test_constant_and_linear_delays_do_not_fit(scale: float, first: float, step: float, late: float) -> None:
    seen = [(first + step * index) * scale + late for index in range(5)]
    for reading in ("either", "window", "sample"):
        assert misfit(seen, spec(scale), reading, 1.0) is not None


@given(scale=st.sampled_from([0.3, 1.0]), first=st.floats(2.0, 30.0))
def test_the_window_admits_a_later_start_and_the_sample_does_not(scale: float, first: float) -> None:
    seen = [min(first * 2**index, CONTRACT.client.reconnect_cap) * scale for index in range(5)]
    assert misfit(seen, spec(scale), "window", 1.0) is None
    assert misfit(seen, spec(scale), "either", 1.0) is None
    assert misfit(seen, spec(scale), "sample", 0.05) is not None
