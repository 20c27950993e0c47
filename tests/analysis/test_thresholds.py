"""thresholds.py: each line judges its figure and nothing else; what cannot be read is refused with what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.metrics import Metric, metrics_of
from harness.analysis.summary import Summary, assess
from harness.errors import UsageError
from harness.figure_names import run_figures
from harness.thresholds import FILE, Threshold, contract_thresholds, read_thresholds
from harness.verdict import Overall, Verdict
from schemas import load_contract
from tests.analysis.builder import Record, of, write

LIMITS = load_contract().benchmark


def _judged(folder: Path, records: list[Record], *lines: str, contract: bool = True) -> Summary:
    write(folder / "run", records)
    quoted = ", ".join(f"'{line}'" for line in lines)
    (folder / "run" / FILE).write_text(f"contract = {str(contract).lower()}\nrequire = [{quoted}]\n")
    return assess(folder / "run").summary


def test_the_contracts_own_lines_are_read_and_hold_for_a_good_run(tmp_path: Path, records: list[Record]) -> None:
    write(tmp_path / "run", records)
    (tmp_path / "run" / FILE).write_text(contract_thresholds(LIMITS))
    summary = assess(tmp_path / "run").summary
    by = {benchmark.title: benchmark.verdict for benchmark in summary.benchmarks if benchmark.id.startswith("threshold_")}
    assert by.pop(f"connections.held >= {LIMITS.connections}") is Verdict.FAIL  # the built run has 60
    assert by.pop(f"broadcasts.rate >= {0.99 * LIMITS.broadcasts_per_second:g}/s") is Verdict.FAIL
    assert set(by.values()) == {Verdict.PASS}


def test_a_stricter_line_fails_a_run_that_the_contract_passes(tmp_path: Path, records: list[Record]) -> None:
    summary = _judged(tmp_path, records, "latency.p99 < 1ms", "delivery.lost == 0")
    assert [summary.benchmark(f"threshold_{n}").verdict for n in (1, 2)] == [Verdict.FAIL, Verdict.PASS]
    assert summary.verdict is Overall.FAIL
    assert summary.exit_code == 1
    assert summary.benchmark("latency").verdict is Verdict.PASS


def test_without_the_contract_only_the_lines_judge(tmp_path: Path, records: list[Record]) -> None:
    row = of(records, "broadcasts")[0]
    row["lost"][77] += 2
    row["delivered"][77] -= 2
    summary = _judged(tmp_path, records, "delivery.lost <= 10", "latency.p99 < 500ms", contract=False)
    assert summary.verdict is Overall.PASS
    assert summary.benchmark("delivery").verdict is Verdict.INFO
    assert summary.benchmark("threshold_1").measured == 2


def test_a_figure_that_the_run_has_not_is_inconclusive_and_never_passes(tmp_path: Path, records: list[Record]) -> None:
    without = [record for record in records if record["kind"] != "target"]
    summary = _judged(tmp_path, without, "memory.each < 10KB", contract=False)
    assert summary.benchmark("threshold_1").verdict is Verdict.INCONCLUSIVE
    assert summary.exit_code == 4


def test_a_line_that_could_not_be_told_is_no_pass_whatever_the_contract_says(tmp_path: Path, records: list[Record]) -> None:
    without = [record for record in records if record["kind"] != "target"]
    summary = _judged(tmp_path, without, "delivery.lost == 0", "memory.each < 10KB")
    assert (summary.verdict, summary.exit_code) == (Overall.UNTESTED, 4)
    assert "memory.each < 10KB" in summary.sentence
    row = of(without, "broadcasts")[0]
    row["lost"][77] += 2
    row["delivered"][77] -= 2
    assert _judged(tmp_path / "lost", without, "memory.each < 10KB").verdict is Overall.FAIL


def test_an_invalid_run_judges_no_line(tmp_path: Path, records: list[Record]) -> None:
    cut = [record for record in records if record["kind"] != "footer"]
    assert _judged(tmp_path, cut, "delivery.lost == 0").benchmark("threshold_1").verdict is Verdict.INCONCLUSIVE


@given(
    value=st.floats(0, 1e6),
    number=st.integers(0, 1_000_000),
    sign=st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
)
def test_a_line_says_what_python_says(value: float, number: int, sign: str) -> None:
    line = Threshold(f"x.y {sign} {number}ms", "x.y", sign, float(number), "ms")
    verdict = line.judge(1, {"x.y": Metric(value, "s", 5)}).verdict
    assert (verdict is Verdict.PASS) == eval(f"{value!r} {sign} {number} * 1e-3")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("require = ['latency.p99 below 3s']", "not a threshold"),
        ("require = ['latency.p99 < 3s'", "not TOML"),
        ("limits = ['latency.p99 < 3s']", "limits"),
        ("require = 'latency.p99 < 3s'", "list of texts"),
        ("contract = false", "nothing would be judged"),
    ],
)
def test_a_file_that_is_none_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "gate.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=said) as refused:
        read_thresholds(file)
    assert str(file) in str(refused.value)


@pytest.mark.parametrize(
    ("line", "said"), [("latency.p98 < 3s", "latency.p99"), ("latency.p99 < 3KB", "'ms'"), ("delivery.lost == 0s", "none")]
)
def test_a_name_or_a_unit_that_is_wrong_is_answered_with_the_right_ones(
    tmp_path: Path, records: list[Record], line: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        _judged(tmp_path, records, line)


def test_every_figure_of_a_good_run_has_its_samples(tmp_path: Path, records: list[Record]) -> None:
    summary = assess(write(tmp_path / "run", records)).summary
    found = metrics_of(summary)
    known = run_figures(benchmark.id for benchmark in summary.benchmarks)
    assert {name: None if name.startswith("benchmark.") else metric.unit for name, metric in found.items()} == known
    assert all(metric.samples > 0 for name, metric in found.items() if not name.startswith("benchmark."))
    assert found["latency.p99"].value == pytest.approx(0.04, abs=0.02)
