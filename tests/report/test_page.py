"""page.py: one self-contained file that a browser can read, with what came over the wire as text, and the same bytes each time."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness.analysis.summary import analyse, assess
from harness.report import render
from harness.report.page import html
from tests.analysis.builder import T0, Recipe, Record, events, good, of, tear, without, write
from tests.report.parsed import HOSTILE, Page, check

RECIPE = Recipe()


@pytest.fixture(scope="module")
def kept() -> list[Record]:
    return good(RECIPE)


@pytest.fixture
def records(kept: list[Record]) -> list[Record]:
    return copy.deepcopy(kept)


def made(folder: Path, records: list[Record]) -> str:
    return render(write(folder, records)).read_text("utf-8")


@pytest.fixture(scope="module")
def whole(kept: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the good run."""
    return render(write(tmp_path_factory.mktemp("good") / "a", kept))


@pytest.fixture(scope="module")
def good_page(whole: Path) -> Page:
    return check(whole.read_text("utf-8"))


def test_a_good_run_makes_a_whole_page(good_page: Page) -> None:
    page = good_page
    for word in ("PASS", "bundled", "20261119T075320Z-broadcast-0001", "abc1234", "7,200", "8,400", "not shown by this run"):
        assert word in page.text
    assert len([drawing for drawing in page.all("svg") if drawing.get("role") == "img"]) == len(page.all("figure")) == 7
    assert {tag for tag, _ in page.tags} >= {"main", "header", "footer", "nav", "h1", "h2"}
    assert all(heading.get("scope") in ("col", "row") for heading in page.all("th"))
    assert [attributes["lang"] for attributes in page.all("html")] == ["en"]


def test_every_drawing_carries_its_numbers_in_words(whole: Path) -> None:
    text = whole.read_text("utf-8")
    for figure in re.findall(r"<figure.*?</figure>", text, re.DOTALL):
        assert 'role="img"' in figure
        assert "font-family" not in figure, "it is set in the typeface of the page"
        table = Page(figure[figure.index("<table") : figure.index("</table>") + 8])
        assert len(table.all("tr")) > 2
        assert re.search(r"\d", table.text)


def test_the_same_records_give_the_same_bytes_and_nothing_else_is_written(whole: Path, tmp_path: Path, records: list[Record]) -> None:
    folder = write(tmp_path / "b", records)
    assert html(assess(folder)) == whole.read_text("utf-8")
    assert [path.name for path in folder.iterdir()] == ["journal.jsonl"]
    assert sorted(path.name for path in whole.parent.iterdir()) == ["index.html", "journal.jsonl"]


def test_lines_of_ones_own_are_told_by_their_own_sign_and_unit(tmp_path: Path, records: list[Record]) -> None:
    folder = write(tmp_path / "a", without(records, "target"))
    (folder / "thresholds.toml").write_text("require = ['latency.p99 >= 1s', 'memory.each < 10KB']")
    page = Page(render(folder).read_text("utf-8")).text.replace("\u202f", " ")
    assert re.search(r"Asked\s*≥ 1 s", page)
    assert re.search(r"latency.p99 is [\d.]+ ms; asked was", page)
    assert re.search(r"1 of \d+ judged benchmarks missed: latency.p99 >= 1s \(", page)
    (folder / "thresholds.toml").write_text("require = ['memory.each < 10KB']")
    page = Page(render(folder).read_text("utf-8")).text
    assert "UNTESTED" in page
    assert "could not be judged: memory.each < 10KB; the run does not have that figure." in page
    assert "leave the line out" in page


def test_a_finding_that_names_some_says_that_there_are_others(tmp_path: Path, records: list[Record]) -> None:
    viewers = [f"w0-{n}" for n in range(9)]
    found = {"kind": "finding", "worker": 0, "t": T0, "what": "lost", "n": 77, "viewers": viewers, "detail": ""}
    page = made(tmp_path / "a", [*records[:-1], {**found, "total": 9}, {**found, "total": 299}, records[-1]])
    assert ("w0-7 and 1 more<" in page, "w0-7 and others<" in page) == (True, True)


def test_every_option_that_was_asked_for_has_its_unit(good_page: Page) -> None:
    assert re.search(r"asked: duration\s*6 s", good_page.text)
    assert re.search(r"asked: rate\s*20 votes/s", good_page.text)


def _hostile(records: list[Record]) -> list[Record]:
    header = records[0]
    header |= {"run": HOSTILE, "scenario": HOSTILE, "seed": HOSTILE, "git": {"revision": HOSTILE, "dirty": True}}
    header["target"] = {"name": HOSTILE, "base_url": HOSTILE, "ws_url": HOSTILE}
    header |= {"readings": {HOSTILE: HOSTILE, "exclusion": HOSTILE}, "versions": {HOSTILE: HOSTILE}, "machine": {"kernel": HOSTILE}}
    second = of(records, "second")[-1]
    second["types"] = {HOSTILE: 1}
    second["invalid"] = 1
    close = {"kind": "closed", "worker": 0, "t": RECIPE.steady_from, "viewer": HOSTILE, "code": 1008, "reason": HOSTILE, "by": "server"}
    finding = {"kind": "finding", "worker": 0, "t": T0, "what": HOSTILE, "n": 1, "viewers": [HOSTILE], "total": 1, "detail": HOSTILE}
    unmatched = {"kind": "unmatched", "worker": 0, "t": T0, "frames": 1, "example": HOSTILE}
    more = events([*records[:-1], close, finding, unmatched, records[-1]], "problem", RECIPE.steady_from, text=HOSTILE, **{HOSTILE: 1})
    return events(more, HOSTILE, RECIPE.steady_from)


def test_nothing_that_came_over_the_wire_becomes_markup(good_page: Page, tmp_path: Path, records: list[Record]) -> None:
    plain = {tag for tag, _ in good_page.tags}
    text = made(tmp_path / "b", _hostile(records))
    page = check(text)
    assert "<script" not in text
    assert "onerror" not in {name for _, attributes in page.tags for name in attributes}
    assert page.text.count("<script>alert(1)</script>") >= 12
    assert "{{ 7*7 }}" in page.text
    assert {tag for tag, _ in page.tags} - plain <= {"code", "h3", "ul", "li"}


def test_a_lost_target_with_a_hostile_reason_is_told_as_text(tmp_path: Path, records: list[Record]) -> None:
    text = made(tmp_path / "a", events(records, "target_lost", RECIPE.steady_from + 4, reason=HOSTILE))
    page = check(text)
    assert "FAIL" in page.text
    assert "<script" not in text


@pytest.mark.parametrize("kind", ["header", "no_seconds", "no_casts", "cut_short", "no_target"])
def test_a_page_is_made_of_whatever_evidence_there_is(tmp_path: Path, records: list[Record], kind: str) -> None:
    changed = {
        "header": of(records, "header"),
        "no_seconds": without(records, "second"),
        "no_casts": [r for r in records if r["kind"] not in ("casts", "broadcasts", "event")],
        "cut_short": without(records, "footer"),
        "no_target": without(records, "target"),
    }[kind]
    folder = write(tmp_path / "a", changed)
    if kind == "cut_short":
        tear(folder)
    page = check(render(folder).read_text("utf-8"))
    if kind in ("header", "cut_short"):
        assert "INVALID, cut short" in page.text
    if kind == "cut_short":
        assert "torn" in page.text


def test_failures_come_first_and_say_what_to_do(tmp_path: Path, records: list[Record]) -> None:
    of(records, "broadcasts")[0]["misdirected"][50] = 4
    of(records, "broadcasts")[0]["reordered"][50] = 4
    page = check(made(tmp_path / "a", records))
    summary = analyse(tmp_path / "a")
    wrong = page.text[page.text.index("What is wrong") : page.text.index("Benchmarks\n")]
    told = [summary.benchmark(name) for name in ("misdirected", "reordered")]
    places = [wrong.index(text) for benchmark in told for text in (benchmark.title, benchmark.detail, benchmark.remedy)]
    assert places == sorted(places)


def test_an_invalid_run_says_so_before_any_number(tmp_path: Path, records: list[Record]) -> None:
    of(records, "casts")[0]["called"] = [due + 0.5 for due in of(records, "casts")[0]["due"]]
    page = check(made(tmp_path / "a", records))
    assert page.text.index("The instrument was not fit") < page.text.index("Vote to broadcast, p99")
    assert [tag for tag, a in page.tags if tag == "span" and a.get("class") in ("mark pass", "mark fail", "mark warn")] == []


def test_many_findings_and_events_do_not_swell_the_page(tmp_path: Path, records: list[Record]) -> None:
    finding = {"kind": "finding", "worker": 0, "t": T0, "what": "lost", "n": 1, "viewers": [f"w0-{i}" for i in range(50)], "total": 50}
    many = [{**finding, "n": n, "detail": "never arrived"} for n in range(5000)]
    shouts = [{"kind": "event", "t": T0 + 12, "worker": 0, "name": "problem", "detail": {"text": f"again {n}"}} for n in range(2000)]
    text = made(tmp_path / "a", [*records[:-1], *many, *shouts, records[-1]])
    assert "of 5,000 findings" in check(text).text
    assert len(text) < 600_000


def test_a_run_of_many_seconds_is_drawn_without_a_row_for_each(tmp_path: Path) -> None:
    text = made(tmp_path / "a", good(replace(RECIPE, viewers=3, rate=1.0, duration=400.0)))
    assert len(text) < 600_000
    for figure in re.findall(r"<figure.*?</figure>", text, re.DOTALL):
        assert figure.count("<tr>") <= 70
