"""faults.json, faults.md and faults.html: the published form, everything escaped, nothing loaded from elsewhere."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

import harness.faults as room
from harness.faults.document import document, markdown
from harness.faults.known import Fault
from harness.faults.matrix import Judged, Matrix, Row, Seen, judge
from harness.faults.page import html
from harness.verdict import Verdict
from schemas import load_clauses

SCHEMA = json.loads((Path(room.__file__).parent / "faults.schema.json").read_text("utf-8"))
CLEAN = {id_: Seen(Verdict.PASS) for id_ in load_clauses() if not id_.startswith("CLI")}
NASTY = "<script>alert(1)</script> | `x` *y* \u202e"


def one(reason: str, *, caught: bool = True) -> Judged:
    seen = {**CLEAN, "HB-01": Seen(Verdict.FAIL if caught else Verdict.PASS, reason), "BAT-02": Seen(Verdict.INCONCLUSIVE, reason)}
    return judge(Fault("late-ping", "HB-01", "PING | is late.", {}, ()), Row("late-ping", seen, 3.2, "", ("as it is",)), CLEAN)


def matrix(*rows: Judged) -> Matrix:
    return Matrix((Row("sound", CLEAN, 1.0, "", ("as it is",)),), rows, 61.5, False, 0.1)


@given(st.text(max_size=60), st.booleans())
@settings(deadline=None, max_examples=30)
def test_the_json_keeps_its_published_form(reason: str, caught: bool) -> None:
    data = json.loads(json.dumps(document(matrix(one(reason, caught=caught)), 1e9)))
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(data)
    assert data["counts"] == {"faults": 1, "caught": int(caught), "right": 0, "explained": 0, "unexplained": 1}
    assert data["faults"][0]["verdicts"]["BAT-02"] == "INCONCLUSIVE"
    assert data["faults"][0]["own"]["reason"] == reason


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [
            str(value) for name, value in attrs if name in ("src", "srcset") or (name == "href" and not str(value).startswith("#"))
        ]


@given(st.text(max_size=60))
@settings(deadline=None, max_examples=30)
def test_the_page_holds_no_markup_but_its_own_and_loads_nothing(reason: str) -> None:
    page = _Page()
    page.feed(html(matrix(one(reason + NASTY)), 1e9))
    assert "script" not in page.tags
    assert page.loads == []
    plain = _Page()
    plain.feed(html(matrix(one("plain")), 1e9))
    assert page.tags == plain.tags


def test_the_page_says_the_verdict_and_marks_each_kind_of_cell() -> None:
    text = html(matrix(one("four seconds")), 1e9)
    assert re.search(r'<td class="own">\s*F\s*</td>', text)
    assert re.search(r'<td class="wrong">\s*\?\s*</td>', text)
    assert "1 verdicts on other clauses are not explained" in text
    assert 'class="missed">P' not in text
    assert re.search(r'<td class="missed">\s*0\s*</td>', html(matrix(one("x", caught=False)), 1e9))


def test_markdown_keeps_its_table_whatever_a_server_says() -> None:
    text = markdown(matrix(one(NASTY)), 1e9)
    rows = [line for line in text.splitlines() if line.startswith("| `late-ping`")]
    assert len(rows) == 1
    assert len(re.findall(r"(?<!\\)\|", rows[0])) == 6
    assert "<script>" not in text
