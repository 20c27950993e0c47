"""What the live page is told of a reconnect study: who is back and when, of every cell, in a bounded number of points."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load.web.live import Live
from harness.load.web.waves import Wave
from schemas import load_contract
from tests.analysis.reconnect.builder import T0, Record, Truth, event, skipped, study

CONTRACT = load_contract()


def live(records: list[Record]) -> Live:
    made = Live(CONTRACT)
    for record in records:
        made.see(record)
    return made


def stands(made: Live) -> dict[str, tuple[str, str]]:
    return {each.id: (each.state, each.measured) for each in made.view().standings}


def pulses(cell: int, start: float, holding: list[int], every: float = 0.02) -> Record:
    times = [start + every * n for n in range(len(holding))]
    alike = {"listening": [True] * len(times), "queue": [3] * len(times), "server_cpu": [0.1] * len(times), "sockets": holding}
    return {"kind": "pulses", "cell": cell, "t": times, "holding": holding, **alike}


def played(*, outage: float = 2.0, holding: list[int], every: float = 0.02, settled: bool = True, clients: int = 10) -> list[Record]:
    """One cell, by its pulses."""
    header = study(Truth(clients=clients))[0]
    described = {"number": 0, "cause": "killed", "outage": outage, "model": "contract", "clients": clients}
    begun = [header, {"kind": "cell", "t": T0, **described}, event(T0 + 10, "struck", cell=0, at=T0 + 10, holding=clients)]
    ends = [event(T0 + 10 + outage, "healed", cell=0, at=T0 + 10 + outage)]
    ends += [event(T0 + 90, "settled", cell=0, complete=True, holding=holding[-1], sockets=holding[-1])] if settled else []
    return [*begun, pulses(0, T0 + 10, holding, every), *ends]


def test_a_study_shows_waves_and_standings_of_its_own_and_no_other_runs_do() -> None:
    made = live(study(Truth(), Truth(model="sample"), more=(skipped(2, "expired", "the profile has no revoke hook"),)))
    view = made.view()
    assert [(wave.name, wave.model, wave.went) for wave in view.waves] == [
        ("killed for 4 s", "contract", "over"),
        ("killed for 4 s", "sample", "over"),
        ("expired for 4 s", "contract", "not tried"),
    ]
    assert view.waves[2].why == "the profile has no revoke hook"
    assert set(stands(made)) == {"back_contract", "back_sample", "refused"}
    assert view.phase == "ended"
    assert live([{"kind": "header", "scenario": "broadcast", "started": T0, "parameters": {}}]).view().waves == ()


@pytest.mark.parametrize(("number", "phase"), [(1, "connecting"), (2, "away"), (4, "coming back"), (5, "settled")])
def test_how_far_it_has_come_is_said(number: int, phase: str) -> None:
    records = [*played(holding=[0, 10])]
    records[0]["cells"] = 3
    view = live(records[: number + 1]).view()
    assert view.phase == phase
    went = "over" if phase == "settled" else phase
    assert view.went == f"cell 1 of 3: killed for 2 s, contract, {went}"


def test_the_last_to_come_back_sets_the_time_and_who_is_missing_is_told() -> None:
    back = live(played(holding=[10, 10, 0, 4, 9, 10, 10], every=1.0))
    (wave,) = back.view().waves
    assert (wave.back_after, wave.healed) == (5.0, 2.0)
    assert stands(back)["back_contract"] == ("within", "5.0 s")
    again = live(played(holding=[0, 10, 8, 10], every=1.0)).view().waves[0]
    assert again.back_after == 3.0, "who was lost again was not back for good"
    missing = live(played(holding=[0, 4, 9, 9], every=1.0))
    assert missing.view().waves[0].back_after is None
    assert stands(missing)["back_contract"] == ("told", "1 of 10 not back")
    late = live(played(holding=[0, *[5] * 40, 10], every=1.0))
    assert stands(late)["back_contract"][0] == "told", "whose doing it is, the report says"
    unmoved = live(played(holding=[10, 10, 10], every=1.0))
    assert unmoved.view().waves[0].back_after is None, "nobody was ever gone"


def test_refusals_count_from_the_return_of_the_server_on() -> None:
    made = live(study(Truth(turned_away=lambda client: client == 3)))
    (wave,) = made.view().waves
    assert wave.refused > 0
    assert stands(made)["refused"] == ("told", str(wave.refused))
    assert live(study(Truth())).view().waves[0].refused == 0


@given(st.lists(st.integers(0, 10), min_size=1, max_size=400), st.floats(0.02, 60.0))
def test_points_are_bounded_and_keep_the_first_and_the_last(holding: list[int], every: float) -> None:
    (wave,) = live(played(holding=holding, every=every)).view().waves
    assert 1 <= len(wave.held["t"]) == len(wave.held["value"]) <= 120
    assert wave.held["t"] == sorted(wave.held["t"])
    assert wave.held["value"][-1] == holding[-1]
    assert wave.held["t"][-1] <= every * (len(holding) - 1) + 1e-6
    assert set(wave.held["value"]) <= set(holding)


def _sockets(wave: Wave) -> float:
    (width,) = {round(after - before, 6) for before, after in itertools.pairwise(wave.dialled["t"])}
    return sum(wave.dialled["value"]) * width


@given(st.integers(1, 30), st.floats(0.5, 20.0), st.sampled_from(["contract", "jittered", "sample"]))
def test_every_socket_is_in_some_step(clients: int, outage: float, model: str) -> None:
    records = study(Truth(clients=clients, outage=outage, model=model))
    (wave,) = live(records).view().waves
    dialled = sum(started >= T0 + 10 for record in records if record["kind"] == "attempts" for started in record["started"])
    assert wave.opened == dialled
    assert round(_sockets(wave), 3) == dialled
