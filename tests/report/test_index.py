"""shelf.py and index_page.py: every run is listed once, newest first, and trends join only what can be compared."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.analysis.summary import analyse
from harness.cli import app
from harness.errors import UsageError
from harness.report import shelve, write_index
from harness.report.index_page import index_html
from harness.report.shelf import Run, Shown, groups, read_shelf
from tests.analysis.builder import Recipe, good, of, write
from tests.report.gate_builder import good_gate, said, write_gate
from tests.report.parsed import HOSTILE, Page

RECIPE = Recipe(viewers=5, rate=5.0, duration=3.0)
NAME = "2026111{}T071355Z-{}-000{}"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two load runs (the later one loses), a gate's, one that nobody judged, one that never began, and folders that are no runs."""
    reports = tmp_path_factory.mktemp("shelf")
    for day in (1, 2):
        records = good(RECIPE)
        records[0]["started"] += day * 86_400
        if day == 2:
            row = of(records, "broadcasts")[0]
            row["lost"][8], row["delivered"][8] = 1, row["delivered"][8] - 1
        analyse(write(reports / NAME.format(day, "broadcast", day), records))
    gate = good_gate()
    said(gate, "FCRE-02", "FAIL", expected="nothing", observed="something")
    write_gate(reports / NAME.format(3, "conformance", 3), gate | {"exit_code": 1, "reason": "1 clause broken: FCRE-02"})
    (reports / NAME.format(4, "broadcast", 4)).mkdir()
    (reports / NAME.format(4, "broadcast", 4) / "journal.jsonl").write_text("torn")
    (reports / NAME.format(5, "broadcast", 5)).mkdir()
    (reports / "example").mkdir()
    (reports / NAME.format(1, "broadcast", 1) / "index.html").write_text("its page")
    return reports


def test_every_run_is_there_once_and_newest_first(shelf: Path) -> None:
    runs = read_shelf(shelf)
    assert len(runs) == 4
    assert [run.started for run in runs] == sorted((run.started for run in runs), reverse=True)
    assert {run.name[-4:]: run.verdict for run in runs} == {"0001": "PASS", "0002": "FAIL", "0003": "FAIL", "0004": ""}


def test_the_page_links_to_what_there_is_and_says_the_rest(shelf: Path) -> None:
    text = write_index(shelf).read_text("utf-8")
    page = Page(text)
    links = [a["href"] for a in page.all("a") if not (a["href"] or "").startswith("#")]
    assert links == [f"{NAME.format(1, 'broadcast', 1)}/index.html"]
    assert all((shelf / str(link)).is_file() for link in links)
    for word in ("Nobody judged it", "1 clause broken: FCRE-02", "5 viewers, 5 votes/s, 3 s", "before: "):
        assert word in page.text
    assert "<script" not in text
    assert all(drawing.get("aria-label") for drawing in page.all("svg"))
    assert index_html(read_shelf(shelf)) == text


def test_a_trend_joins_runs_of_one_kind_target_and_load_only(shelf: Path) -> None:
    found = groups(read_shelf(shelf))
    assert sorted((group.kind, len(group.runs)) for group in found) == [("broadcast", 2), ("conformance", 1)]
    run = next(run for run in read_shelf(shelf) if run.kind == "broadcast" and run.numbers)
    for other in (replace(run, target="another"), replace(run, load="another"), replace(run, kind="another")):
        assert len(groups([run, other])) == 2
    assert len(groups([run, replace(run, name="again")])) == 1
    assert groups([replace(run, numbers=())]) == []
    assert groups([replace(run, verdict="INVALID"), replace(run, verdict="UNREACHABLE"), replace(run, verdict="")]) == []


def test_the_line_marks_the_run_that_missed(shelf: Path) -> None:
    text = index_html(read_shelf(shelf))
    lost = re.search(r'<svg[^>]*aria-label="Deliveries made of those owed[^"]*".*?</svg>', text, re.DOTALL)
    assert lost is not None
    assert lost.group().count('class="bad"') == 1
    assert lost.group().count("<polyline") == 1


def test_what_a_run_says_is_text() -> None:
    shown = Shown("latency", HOSTILE, 1.0, 3.0, "s", "PASS")
    run = Run("20261110T071355Z-broadcast-0001", True, 1e9, 1.0, HOSTILE, HOSTILE, HOSTILE, HOSTILE, True, HOSTILE, (shown,))
    text = index_html([run, replace(run, verdict="PASS"), replace(run, verdict="UNREACHABLE")])
    page = Page(text)
    assert "<script" not in text
    assert page.all("img") == []
    assert page.text.count("<script>alert(1)</script>") >= 6


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"benchmarks": 3}', '{"benchmarks": [{}], "started": 1}', "null"])
def test_a_torn_verdict_is_a_run_that_nobody_judged(tmp_path: Path, content: str) -> None:
    folder = tmp_path / NAME.format(1, "broadcast", 1)
    folder.mkdir()
    (folder / "verdicts.json").write_text(content)
    (folder / "conformance.json").write_text(content)
    assert [(run.verdict, run.kind) for run in read_shelf(tmp_path)] == [("", "broadcast")]
    assert "Nobody judged it" in index_html(read_shelf(tmp_path))


def test_a_run_is_put_on_the_shelf_where_there_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "reports" / NAME.format(1, "broadcast", 1)
    folder.mkdir(parents=True)
    shelve(folder)
    assert (tmp_path / "reports" / "index.html").is_file()
    (tmp_path / "elsewhere" / "my-run").mkdir(parents=True)
    shelve(tmp_path / "elsewhere" / "my-run")
    assert not (tmp_path / "elsewhere" / "index.html").exists()
    # An index that cannot be written is said, and never spoils the run.
    (tmp_path / "reports" / "index.html").unlink()
    (tmp_path / "reports" / "index.html").mkdir()
    shelve(folder)
    assert "could not be written" in capsys.readouterr().err


def test_a_thousand_runs_make_a_page_of_bounded_size(shelf: Path) -> None:
    run = next(run for run in read_shelf(shelf) if run.kind == "broadcast" and run.numbers)
    text = index_html([replace(run, name=f"{n}", started=run.started + n) for n in range(1000)])
    assert len(text) < 1_000_000
    assert "600 older runs are not listed" in text


def test_the_command_makes_it(shelf: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", "--index", "--reports", str(shelf)])
    assert (done.exit_code, done.output) == (0, f"index: {shelf / 'index.html'}\n")
    with pytest.raises(UsageError, match="no folder of reports"):
        write_index(tmp_path / "none")
    assert json.loads((shelf / NAME.format(1, "broadcast", 1) / "verdicts.json").read_bytes())["verdict"] == "PASS"
