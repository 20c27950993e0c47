"""The page of a reconnect study: three clients side by side, numbers in words beside every drawing, and what came over the wire as text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.report import render
from harness.report.rebuild import Rebuilt, rebuild
from harness.run_folder import RunFolder
from tests.analysis.reconnect.builder import CODES, T0, Record, Truth, event, skipped, study, write
from tests.report.parsed import HOSTILE, Page, check

MODELS = ("contract", "jittered", "sample")


def full() -> list[Record]:
    truths = [Truth(cause=cause, model=model) for cause in ("graceful", "killed") for model in MODELS]
    truths = [Truth(**{**vars(truth), "code": CODES.going_away}) if truth.cause == "graceful" else truth for truth in truths]
    ended = [Truth(cause="expired", outage=None, model=model, code=CODES.session_invalid) for model in MODELS]
    struck = T0 + 10
    anew = {"kind": "resyncs", "cell": 0, "client": [3, 4], "t": [struck + 5, struck + 5.5], "seconds": [0.004, 0.25], "ok": [True, False]}
    return study(*truths, *ended, more=(anew, event(struck + 5.2, "gc", generation=2, pause=0.012, times=1)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Rebuilt:
    return rebuild(write(tmp_path_factory.mktemp("study") / "run", full()))


def page(folder: Path, records: list[Record]) -> Page:
    return check(render(write(folder, records)).read_text("utf-8"))


def test_every_cause_is_one_drawing_with_its_numbers(whole: Rebuilt) -> None:
    text = RunFolder(whole.folder).report.read_text("utf-8")
    found = check(text)
    figures = re.findall(r"<figure.*?</figure>", text, re.DOTALL)
    assert len(figures) == 3
    for figure in figures:
        table = Page(figure[figure.index("<table") : figure.index("</table>") + 8])
        assert len(table.all("tr")) == 1 + len(MODELS)
    for word in (
        "PASS",
        "all back after 7",
        "60 leaked",
        "given up after",
        "perfect server",
        "A26",
        "Every session ended",
        "accept",
        "2 clients fetched the state anew when they were back, the slowest in 250",
        "1 of them in vain",
        "(GC) of the generator stopped it once, for",
    ):
        assert word in found.text, word


def test_the_same_records_give_the_same_bytes(whole: Rebuilt, tmp_path: Path) -> None:
    assert render(write(tmp_path / "run", full())).read_bytes() == RunFolder(whole.folder).report.read_bytes()


def test_one_client_model_is_one_column(tmp_path: Path) -> None:
    found = page(tmp_path / "run", study(Truth(model="jittered")))
    assert len(found.all("figure")) == 1
    assert "the sample class, literally:" not in found.text


def test_a_study_that_judges_nothing_says_why_and_a_missing_hook_too(tmp_path: Path) -> None:
    found = page(tmp_path / "a", study(Truth(late=0.9)))
    assert "INVALID" in found.text
    assert "opened sockets later" in found.text
    found = page(tmp_path / "b", study(more=(skipped(0, "graceful", "the profile has no stop hook"),)))
    assert "The profile has no stop hook" in found.text
    assert found.all("figure") == []


@pytest.mark.parametrize("footer", [None, "stopped"])
def test_a_study_that_was_cut_short_still_has_a_page(tmp_path: Path, footer: str | None) -> None:
    records = study(Truth(), Truth(model="sample"), footer=footer)
    records = [record for record in records if not (record.get("name") in ("settled", "healed") and record["detail"]["cell"] == 1)]
    assert "cut short" in page(tmp_path / "run", records).text


def test_what_a_target_says_is_text(tmp_path: Path) -> None:
    records = study(Truth(), more=(event(1.0, "problem", text=HOSTILE), skipped(5, "full", HOSTILE)), name=HOSTILE)
    assert "<script>alert" in page(tmp_path / "run", records).text


def test_the_terminal_says_it_too(whole: Rebuilt) -> None:
    assert whole.text.startswith("PASS: ")
    assert whole.exit_code == 0
    assert "Clients that the sample class loses" in whole.text
    assert RunFolder(whole.folder).verdicts.exists()
