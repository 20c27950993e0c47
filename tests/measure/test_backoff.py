"""The client models against dead, flapping and leaving servers, with no clock but the argument."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.backoff import CLIENT_MODELS, ContractClient, Fate, SampleClient, client_model, delay, foretell, rng_of
from harness.measure.backoff import ReconnectingClient as Client
from schemas import load_contract

RULES = load_contract().client
CODES = load_contract().close
NORMAL = CODES.normal
DROPPED = 1006


def against_dead_server(client: Client) -> list[float]:
    """Times of all sockets when each is refused at once; the first is opened by the page at 0."""
    opened = [0.0]
    client.lost(0.0, failed=True, code=DROPPED)
    while (now := client.next_deadline()) is not None:
        sockets = client.due(now)
        assert sockets
        opened += [now] * sockets
        assert len(opened) < 100, "it never gives up"
        # A browser tells of a failed socket after the timers of the same moment have run.
        for _ in range(sockets):
            client.lost(now, failed=True, code=DROPPED)
    return opened


def test_the_rule_doubles_up_to_the_cap() -> None:
    expected = [RULES.reconnect_base * 2**attempt for attempt in range(RULES.reconnect_attempts)]
    assert [delay(RULES, attempt) for attempt in range(RULES.reconnect_attempts)] == expected
    assert delay(RULES, 5) == delay(RULES, 10_000) == RULES.reconnect_cap


@given(st.integers(0, 2000))
def test_the_delay_never_shrinks_and_never_passes_the_cap(attempt: int) -> None:
    assert RULES.reconnect_base <= delay(RULES, attempt) <= delay(RULES, attempt + 1) <= RULES.reconnect_cap


def test_the_contract_client_tries_five_times_over_31_seconds() -> None:
    client = ContractClient(RULES, NORMAL, None)
    assert against_dead_server(client) == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0]
    assert client.given_up


def test_the_sample_class_opens_seven_sockets_in_five_seconds() -> None:
    client = SampleClient(RULES, NORMAL)
    assert against_dead_server(client) == [0.0, 1.0, 1.0, 5.0, 5.0, 5.0, 5.0]
    assert client.given_up


@given(st.integers(0, 10_000))
def test_jitter_spreads_each_attempt_over_its_whole_delay_and_repeats_by_seed(seed: int) -> None:
    times = against_dead_server(ContractClient(RULES, NORMAL, random.Random(seed)))
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(waits) == RULES.reconnect_attempts
    assert all(0 <= wait <= delay(RULES, n) + 1e-9 for n, wait in enumerate(waits))
    assert times == against_dead_server(ContractClient(RULES, NORMAL, random.Random(seed)))


def test_jitter_keeps_a_herd_apart() -> None:
    rng = random.Random(1)
    firsts = sorted(against_dead_server(ContractClient(RULES, NORMAL, rng))[1] for _ in range(1000))
    tenth = RULES.reconnect_base / 10
    for n in range(10):
        assert 50 < sum(n * tenth <= first < (n + 1) * tenth for first in firsts) < 200


@given(
    st.sampled_from(CLIENT_MODELS),
    st.lists(st.sampled_from(["lost", "dropped", "open", "wait"]), max_size=60),
    st.integers(0, 9),
)
def test_no_model_opens_before_its_deadline_or_more_than_it_was_owed(name: str, events: list[str], seed: int) -> None:
    client = client_model(name, RULES, NORMAL, random.Random(seed))
    now, owed = 0.0, 0
    for event in events:
        if event == "open":
            client.opened()
        elif event == "wait":
            deadline = client.next_deadline()
            if deadline is not None:
                assert deadline >= now
                assert client.due(deadline - 1e-6) == 0 or name == "sample"
                now = max(now, deadline)
                sockets = client.due(now)
                assert 0 <= sockets <= owed
                owed -= sockets
                assert client.due(now) == 0
        else:
            client.lost(now, failed=event == "lost", code=DROPPED)
            owed += 2 if name == "sample" else 1
        if client.given_up:
            assert client.next_deadline() is None


@pytest.mark.parametrize("name", ["contract", "jittered"])
def test_one_loss_is_one_socket_however_often_it_is_told(name: str) -> None:
    client = client_model(name, RULES, NORMAL, random.Random(1))
    client.lost(0.0, failed=True, code=DROPPED)
    deadline = client.next_deadline()
    client.lost(0.0, failed=False, code=DROPPED)
    assert client.next_deadline() == deadline
    assert client.due(RULES.reconnect_cap) == 1
    assert client.next_deadline() is None


def test_an_open_socket_resets_the_attempts() -> None:
    client = ContractClient(RULES, NORMAL, None)
    for _ in range(20):
        client.lost(0.0, failed=True, code=DROPPED)
        assert client.next_deadline() == RULES.reconnect_base
        assert client.due(RULES.reconnect_base) == 1
        client.opened()
    assert not client.given_up


def test_giving_up_ends_when_a_late_socket_opens_after_all() -> None:
    for client in (ContractClient(RULES, NORMAL, None), SampleClient(RULES, NORMAL)):
        against_dead_server(client)
        client.opened()
        assert not client.given_up
        client.lost(100.0, failed=False, code=CODES.going_away)
        assert client.next_deadline() == 100.0 + RULES.reconnect_base


@pytest.mark.parametrize("name", CLIENT_MODELS)
def test_a_normal_closure_is_not_followed_by_a_reconnection(name: str) -> None:
    client = client_model(name, RULES, NORMAL, random.Random(1))
    client.lost(0.0, failed=False, code=NORMAL)
    assert client.next_deadline() is None
    assert not client.given_up


@pytest.mark.parametrize("code", [CODES.going_away, CODES.policy_violation, CODES.session_invalid, DROPPED])
def test_every_other_close_is(code: int) -> None:
    for name in CLIENT_MODELS:
        client = client_model(name, RULES, NORMAL, random.Random(1))
        client.lost(3.0, failed=False, code=code)
        deadline = client.next_deadline()
        assert deadline is not None
        assert 3.0 <= deadline <= 3.0 + RULES.reconnect_base
        assert client.due(deadline) == 1


def test_leaving_cancels_the_timer_except_in_the_sample_class() -> None:
    left = {}
    for name in CLIENT_MODELS:
        client = client_model(name, RULES, NORMAL, random.Random(1))
        client.lost(0.0, failed=False, code=CODES.going_away)
        client.disconnect()
        client.lost(0.0, failed=False, code=NORMAL)
        left[name] = client.due(RULES.reconnect_cap)
    assert left == {"contract": 0, "jittered": 0, "sample": 1}


def test_the_sample_class_on_recovery_holds_two_sockets() -> None:
    client = SampleClient(RULES, NORMAL)
    client.lost(0.0, failed=True, code=DROPPED)
    assert client.due(RULES.reconnect_base) == 2


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ValueError, match="contract, jittered, sample"):
        client_model("sticky", RULES, NORMAL, random.Random(1))


def fate(name: str, back: float, *, code: int = DROPPED, seed: int = 1, lost: float = 0.0) -> Fate:
    client = client_model(name, RULES, NORMAL, random.Random(seed))
    return foretell(client, lost=lost, failed=code == DROPPED, code=code, dropped=DROPPED, back=back)


PATIENCE = sum(delay(RULES, attempt) for attempt in range(RULES.reconnect_attempts))


@given(st.floats(0, 60), st.floats(0, 1e6))
def test_with_a_perfect_server_the_rule_is_back_at_its_first_attempt_after_the_outage(outage: float, lost: float) -> None:
    found = fate("contract", lost + outage, lost=lost)
    moments = [sum(delay(RULES, n) for n in range(attempt + 1)) for attempt in range(RULES.reconnect_attempts)]
    # Moments that differ by less than the clock's own grain at `lost` may fall on either side.
    later = [moment for moment in moments if moment >= outage - 1e-6]
    if outage > PATIENCE + 1e-6:
        assert (found.back, found.given_up) == (None, True)
    elif found.back is not None:
        assert found.back - lost >= outage - 1e-6
        assert any(abs(found.back - lost - moment) < 1e-6 for moment in later[:2])
        assert len(found.opened) == 1


@given(st.floats(0, 60), st.integers(0, 1000))
def test_jitter_is_never_later_than_the_rule_and_gives_up_sooner(outage: float, seed: int) -> None:
    found = fate("jittered", outage, seed=seed)
    assert len(found.attempts) <= RULES.reconnect_attempts
    assert found.attempts[-1] <= PATIENCE
    assert found.given_up == (found.back is None)
    if found.back is not None:
        assert found.back >= outage


@pytest.mark.parametrize(("outage", "opened"), [(0.5, 2), (4.0, 4), (10.0, 0)])
def test_the_sample_class_leaks_all_but_one_of_what_it_opens_and_gives_up_after_seconds(outage: float, opened: int) -> None:
    found = fate("sample", outage)
    assert len(found.opened) == opened
    assert found.given_up == (opened == 0)
    assert max(found.attempts) <= 5.0


def test_a_server_that_never_lets_anybody_in_is_knocked_at_until_the_attempts_end() -> None:
    ends = {name: fate(name, math.inf, code=CODES.session_invalid) for name in CLIENT_MODELS}
    assert all(each.given_up and not each.opened for each in ends.values())
    assert len(ends["contract"].attempts) == len(ends["jittered"].attempts) == RULES.reconnect_attempts
    assert len(ends["sample"].attempts) > RULES.reconnect_attempts


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_a_clients_jitter_is_its_own_and_can_be_drawn_again(seed: int, cell: int, client: int) -> None:
    drawn = rng_of(seed, cell, client).random()
    assert drawn == rng_of(seed, cell, client).random()
    assert drawn != rng_of(seed, cell, client + 1).random()
