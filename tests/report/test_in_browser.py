"""The pages as a reader has them: opened from disk in Chromium, clicked through, on a desk and on a phone, in the light and in the dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from harness.measure.histogram import Histogram
from harness.report import rebuild, write_index
from harness.run_folder import RunFolder
from tests import browser as chromium
from tests.analysis.builder import Recipe, Record, events, good, of, tear, without, write
from tests.report.browser import NAMELESS, PALE, WIDTHS, opened
from tests.report.gate_builder import Document, clause_of, frame, good_gate, said, write_gate

RECIPE = Recipe()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.opened() as found:
        yield found


class Pages(dict[str, Path]):
    """A page of each outcome, made when a test first asks for it."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def __missing__(self, kind: str) -> Path:
        folder = self._root / kind
        if kind == "role":
            write_gate(folder, _gate())
        else:
            write(folder, _records(kind))
        if kind == "cut":
            tear(folder)
        self[kind] = RunFolder(rebuild(folder).folder).report
        return self[kind]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    return Pages(tmp_path_factory.mktemp("pages"))


def _records(kind: str) -> list[Record]:
    records = good(RECIPE)
    match kind:
        case "late":
            for record in of(records, "second"):
                record["latency"] = record["latency"] and _late()
        case "lost":
            records = events(records, "problem", RECIPE.steady_from + 2, text="the proxy was restarted")
            row = of(records, "broadcasts")[0]
            row["lost"][60], row["delivered"][60] = 9, row["delivered"][60] - 9
        case "invalid":
            casts = of(records, "casts")[0]
            casts["called"] = [due + 0.5 for due in casts["due"]]
        case "cut":
            records = without(records, "footer")
    return records


def _gate() -> Document:
    gate = good_gate()
    said(gate, "FCRE-02", "FAIL", expected="no FEATURE_CREATED at a regular viewer", observed="one for f-11")
    clause_of(gate, "FCRE-02")["checks"][0]["frames"] = [frame(0.012, '{"type":"PING"}'), frame(1.2, '{"type":"FEATURE_CREATED"}')]
    said(gate, "HB-05", "INCONCLUSIVE", reason="no PING came")
    return gate | {"exit_code": 1, "reason": "1 clause broken: FCRE-02"}


def _late() -> str:
    histogram = Histogram()
    histogram.record(np.full(1200, 4e6))
    return histogram.encode()


@pytest.mark.parametrize("kind", ["late", "cut", "role"])
def test_everything_opens_and_nothing_is_asked_for(browser: Browser, pages: Pages, kind: str) -> None:
    with opened(browser, pages[kind]) as found:
        page = found.page
        before = page.evaluate("document.querySelectorAll('details').length")
        assert before
        page.evaluate("document.querySelectorAll('summary').forEach(node => node.click())")
        closed = page.evaluate("[...document.querySelectorAll('details')].filter(d => !d.open).map(d => d.textContent.slice(0, 60))")
        assert closed == []
        assert page.evaluate(NAMELESS) == []
        assert (found.told, found.asked) == ([], [])


@pytest.mark.parametrize(
    ("kind", "width", "dark"),
    [("late", "wide", False), ("late", "phone", True), ("role", "wide", True), ("role", "phone", False), ("invalid", "phone", False)],
)
def test_it_can_be_read(browser: Browser, pages: Pages, tmp_path: Path, kind: str, width: str, dark: bool) -> None:
    with opened(browser, pages[kind], width=width, dark=dark) as found:
        page = found.page
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        assert page.evaluate(PALE) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width]["width"], "the page itself never scrolls sideways"
        small = page.evaluate(
            "[...document.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height).filter(h => h > 0 && h < 10).length"
        )
        assert small == 0
        shot = tmp_path / "shot.png"
        page.screenshot(path=shot)
        assert shot.stat().st_size > 20_000


@pytest.mark.parametrize(
    ("kind", "width", "says"),
    [
        ("pass", "wide", ["PASS", "judged benchmarks are met"]),
        ("late", "phone", ["FAIL", "Vote to broadcast, p99", "4", "3", "What to do"]),
        ("lost", "wide", ["FAIL", "9 lost", "What to do"]),
        ("invalid", "wide", ["INVALID", "Votes were cast late", "not fit", "What to do"]),
        ("cut", "phone", ["INVALID, cut short", "no footer", "did not go to its end", "What to do"]),
        ("role", "wide", ["FAIL", "FCRE-02", "no FEATURE_CREATED at a regular viewer", "one for f-11", "--clause FCRE-02"]),
        ("role", "phone", ["FAIL", "FCRE-02", "one for f-11 in place of no FEATURE_CREATED at a regular viewer", "--clause FCRE-02"]),
    ],
)
def test_the_first_screen_tells_what_and_by_how_much_and_what_to_do(
    browser: Browser, pages: Pages, kind: str, width: str, says: list[str]
) -> None:
    seen = """() => {
      const words = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      for (let node = walk.nextNode(); node; node = walk.nextNode()) {
        const range = document.createRange(); range.selectNodeContents(node);
        const box = range.getBoundingClientRect();
        if (box.height && box.bottom <= innerHeight && box.right > 0) words.push(node.textContent);
      }
      return words.join(' ').replace(/\\s+/g, ' ');
    }"""
    with opened(browser, pages[kind], width=width) as found:
        text = found.page.evaluate(seen)
        for word in says:
            assert word in text


@pytest.mark.parametrize("kind", ["late", "role"])
def test_without_javascript_all_is_told(browser: Browser, pages: Pages, kind: str) -> None:
    with opened(browser, pages[kind]) as with_script, opened(browser, pages[kind], script=False) as without_script:
        one, other = with_script.page.locator("body").inner_text(), without_script.page.locator("body").inner_text()
        assert one == other
        without_script.page.locator("summary").first.click()
        assert without_script.page.locator("details[open]").count() >= 1


def test_a_clause_in_the_matrix_leads_to_its_evidence(browser: Browser, pages: Pages) -> None:
    with opened(browser, pages["role"], script=False) as found:
        found.page.locator('a.chip[href="#FCRE-02"]').click()
        evidence = found.page.locator("#FCRE-02")
        evidence.wait_for(state="visible")
        assert "FEATURE_CREATED" in evidence.inner_text()
        box = evidence.bounding_box()
        assert box is not None
        assert 0 <= box["y"] < 300, "its heading stays in sight"


def test_the_keyboard_reaches_the_numbers_and_opens_them(browser: Browser, pages: Pages) -> None:
    with opened(browser, pages["late"]) as found:
        page = found.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the numbers"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "content"
        page.locator("summary").first.focus()
        page.keyboard.press("Enter")
        assert page.locator("details[open]").count() == 1


@pytest.mark.parametrize("kind", ["late", "role"])
def test_on_paper_nothing_is_cut_off_or_hangs_on_the_dark(browser: Browser, pages: Pages, kind: str) -> None:
    with opened(browser, pages[kind], width="paper", dark=True) as found:
        found.page.emulate_media(media="print")
        assert found.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert found.page.evaluate(PALE) == []
        assert found.page.evaluate("document.documentElement.scrollWidth") <= WIDTHS["paper"]["width"]
        assert not found.page.locator("nav.contents").is_visible()


@pytest.mark.parametrize(("width", "dark"), [("wide", True), ("phone", False)])
def test_the_index_can_be_read_and_leads_to_the_runs(browser: Browser, pages: Pages, tmp_path: Path, width: str, dark: bool) -> None:
    for day, kind in enumerate(("pass", "lost", "cut")):
        shutil.copytree(pages[kind].parent, tmp_path / f"2026111{day}T071355Z-broadcast-000{day}")
    with opened(browser, write_index(tmp_path), width=width, dark=dark) as found:
        page = found.page
        assert page.evaluate(PALE) == []
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width]["width"]
        assert (found.told, found.asked) == ([], [])
        page.locator("table.runs a").first.click()
        page.wait_for_url("**/index.html")
        assert page.locator("h1 .word").inner_text() in ("PASS", "FAIL", "INVALID, cut short")
