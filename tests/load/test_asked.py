"""Thresholds of one's own on the live page: as they stand by what was seen, and never missed by what may still come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.load.web.live import Live
from harness.thresholds import read_thresholds
from schemas import load_contract
from tests.load.test_live import header, histogram, second, settled


def shown(folder: Path, *lines: str, records: tuple[dict[str, Any], ...] = (), contract: bool = True) -> dict[str, tuple[str, str]]:
    file = folder / "mine.toml"
    file.write_text(f"contract = {str(contract).lower()}\nrequire = {list(lines)!r}\n")
    live = Live(load_contract(), read_thresholds(file))
    for record in (header(), *records):
        live.see(record)
    return {each.id: (each.state, each.measured) for each in live.view().standings}


SEEN = (second(0, 1.0, latency=histogram(40_000.0), refused=2), settled(0, 1.0, expected=[9], delivered=[8], lost=[1]))


@pytest.mark.parametrize(
    ("line", "state", "measured"),
    [
        ("latency.p99 < 100ms", "within", "40.0 ms"),
        ("latency.p99 < 10ms", "outside", "40.0 ms"),
        ("delivery.lost == 0", "outside", "1"),
        ("delivery.lost <= 1", "within", "1"),
        ("delivery.expected >= 100", "open", "9"),
        ("connections.held == 10", "open", "5"),
        ("connections.refused == 1", "outside", "2"),
        ("memory.each <= 4KB", "told", "–"),
        ("latency.p99 < 10KB", "told", "40.0 ms"),
    ],
)
def test_a_line_stands_by_what_was_seen(tmp_path: Path, line: str, state: str, measured: str) -> None:
    stands = shown(tmp_path, line, records=SEEN)
    found, said = stands["threshold_1"]
    assert (found, said.startswith(measured)) == (state, True)
    assert stands["latency"][0] == "within", "the contract goes on to judge"


def test_before_anything_is_seen_every_line_is_open(tmp_path: Path) -> None:
    assert {state for state, _ in shown(tmp_path, "latency.p99 < 1ms", "delivery.lost == 0").values()} == {"open"}


def test_where_only_the_lines_judge_the_contract_stands_aside(tmp_path: Path) -> None:
    stands = shown(tmp_path, "latency.p99 < 100ms", records=SEEN, contract=False)
    assert stands.pop("threshold_1")[0] == "within"
    assert {state for state, _ in stands.values()} == {"aside"}
