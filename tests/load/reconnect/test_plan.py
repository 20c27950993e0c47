"""What the study may be asked: every combination once and in order, and a sentence for what cannot be."""

from __future__ import annotations

import argparse
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import UsageError
from harness.load.reconnect.plan import CAUSES, SHAPE, Order, add_arguments, scaled_rules
from harness.measure.backoff import CLIENT_MODELS
from schemas import load_contract


def order(clients: int = 10, **changes: Any) -> Order:
    given = {"target": "", "models": "sample,contract", "causes": "killed,expired", "outages": "10, 0.5", "time_scale": 1.0, "seed": 1,
             "reports": "reports", "run_folder": "", "thresholds": ""}  # fmt: skip
    return Order.of(SimpleNamespace(**{**given, **changes}), clients)


def test_every_combination_is_one_cell_and_what_has_no_way_back_has_no_outage() -> None:
    cells = [(cell.number, cell.cause, cell.outage, cell.model) for cell in order().cells()]
    assert cells == [
        (0, "killed", 0.5, "contract"),
        (1, "killed", 0.5, "sample"),
        (2, "killed", 10.0, "contract"),
        (3, "killed", 10.0, "sample"),
        (4, "expired", None, "contract"),
        (5, "expired", None, "sample"),
    ]


class _Parser(argparse.ArgumentParser):
    """As Locust's: it knows two keywords more."""

    def add_argument(self, *words: Any, env_var: str = "", include_in_web_ui: bool = True, **given: Any) -> argparse.Action:
        return super().add_argument(*words, **given)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"models": "sticky"}, "--models"),
        ({"causes": ""}, "--causes"),
        ({"outages": "soon"}, "--outages"),
        ({"outages": "0"}, "--outages"),
        ({"outages": "inf"}, "--outages"),
        ({"time_scale": 0.0}, "--time-scale"),
        ({"clients": 0}, "--users"),
    ],
)
def test_what_cannot_be_is_refused_with_the_option_that_is_wrong(changes: dict[str, Any], where: str) -> None:
    with pytest.raises(UsageError) as refused:
        order(**changes)
    assert refused.value.where == where


def test_the_command_line_asks_for_everything_by_default() -> None:
    parser = _Parser()
    add_arguments(parser)
    options = parser.parse_args([])
    asked = Order.of(options, options.num_users)
    assert asked.clients == load_contract().benchmark.connections
    assert set(asked.causes) == set(CAUSES)
    assert set(asked.models) == set(CLIENT_MODELS)
    assert {option.name for option in SHAPE.all_options()} == {"viewers", "spawn-rate", "seed", "models", "causes", "outages", "time-scale"}


def test_only_durations_are_scaled() -> None:
    rules = load_contract().client
    scaled = scaled_rules(rules, 0.1)
    assert scaled.reconnect_attempts == rules.reconnect_attempts
    assert scaled.reconnect_base == pytest.approx(rules.reconnect_base / 10)
    assert scaled.reconnect_cap == pytest.approx(rules.reconnect_cap / 10)
    assert scaled.unsolicited_pong_every == pytest.approx(rules.unsolicited_pong_every / 10)
