"""The conformance part of the page: failures first, each clause once, its evidence as text, and small whatever the target sent."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.conformance.catalogue import Selection
from harness.conformance.gate import GateOptions, run_gate
from harness.errors import RunInvalid, UsageError
from harness.journal import Journal
from harness.report import rebuild, render
from harness.report.gate_file import read_gate
from harness.run_folder import RunFolder
from schemas import load_clauses, load_readings
from tests.analysis.builder import Recipe, good, of, write
from tests.conformance.wrong import greet, listening, profile, upgraded
from tests.report.gate_builder import Document, check_of, clause_of, frame, good_gate, said, write_gate
from tests.report.parsed import HOSTILE, Page, check


@pytest.fixture
def document() -> Document:
    return good_gate()


def made(folder: Path, document: Document) -> str:
    return render(write_gate(folder, document)).read_text("utf-8")


def entries(text: str) -> dict[str, str]:
    """The details of each clause, as markup; each of them is there once."""
    parts = re.findall(r'<details class="entry.*?</details>', text, re.DOTALL)
    found = {id_: part for part in parts for id_ in re.findall(r'<div class="inside" id="([^"]*)"', part)}
    assert len(found) == len(parts)
    return found


def opened(text: str, id_: str) -> str:
    return entries(text)[id_]


def cards(text: str) -> list[Page]:
    """The troubles in the order of the page."""
    start, end = text.index('<ul class="troubles">'), text.index('id="conformance"')
    return [Page(part) for part in re.findall(r"<li .*?</li>", text[start:end], re.DOTALL)]


def test_a_kept_contract_makes_a_whole_page(tmp_path: Path, document: Document) -> None:
    text = made(tmp_path / "a", document)
    page = check(text)
    judged = sum(each["verdict"] == "PASS" for each in document["clauses"])
    for word in ("PASS", "shop", "No MUST is broken.", f"{judged} of {judged}", "170 of 171", "2026-11-19 07:53:20 UTC", "61 s"):
        assert word in page.text
    assert "troubles" not in text[text.index("<main") :]
    assert {tag for tag, _ in page.tags} >= {"main", "header", "footer", "h1", "h2"}
    assert all(heading.get("scope") in ("col", "row") for heading in page.all("th"))


def test_each_clause_stands_there_exactly_once_and_in_order(tmp_path: Path, document: Document) -> None:
    for id_ in ("VOTE-06", "HS-02"):
        said(document, id_, "FAIL", expected="this", observed="that")
    for each in document["clauses"]:
        if each["section"] in ("CLI", "SEC"):
            each |= {"selected": False, "verdict": None, "reason": "its section was not selected", "checks": [], "command": ""}
    text = made(tmp_path / "a", document)
    page = check(text)
    ids = list(load_clauses())
    assert re.findall(r'<summary><span class="id">([^<]*)</span>', text) == ids
    assert [a["id"] for a in page.all("div") if a.get("class") == "inside"] == ids
    chips = [a for a in page.all("a") if (a.get("class") or "").startswith("chip")]
    assert [str(a["href"])[1:] for a in chips] == ids
    assert all((a.get("aria-label") or "").startswith(f"{id_}: ") for a, id_ in zip(chips, ids, strict=True))
    for id_, part in entries(text).items():
        assert load_clauses()[id_].statement in Page(part).text


def test_failures_come_first_with_what_to_do(tmp_path: Path, document: Document) -> None:
    said(document, "RATE-05", "INCONCLUSIVE", reason="no PING came")
    said(document, "HB-02", "INCONCLUSIVE", reason="no PING came")
    said(document, "GEN-04", "WARN", expected="no such property", observed="colour")
    said(document, "HB-05", "FAIL", expected="a close", observed="none", known={"reason": "ticket 7", "expires": "2027-01-31"})
    said(document, "VOTE-06", "FAIL", expected="no VOTE_UPDATE", observed="1 such")
    why = "it is kept, and the baseline still lists it: take the entry out"
    said(document, "HS-01", "PASS", reason=why, known={"reason": "ticket 8", "expires": "2027-01-31"}, stale=True)
    document |= {"exit_code": 1, "reason": "1 clause broken: VOTE-06", "problems": ["pytest was ended"]}
    text = made(tmp_path / "a", document)
    page = check(text)
    told = cards(text)
    firsts = [re.search(r"[A-Z]+-\d\d", card.text) for card in told]
    assert [found.group() if found else None for found in firsts] == ["VOTE-06", "HS-01", "HB-05", "GEN-04", "HB-02"]
    for word in ("FAIL", "no VOTE_UPDATE", "1 such", "roadmap-harness check shop.toml --clause VOTE-06", "MUST"):
        assert word in told[0].text
    assert "take the entry out" in told[1].text
    assert "known until 2027-01-31: ticket 7" in told[2].text
    assert "RATE-05" in told[4].text  # open for the same reason: one card
    places = [page.text.index(part) for part in ("FAIL shop", "1 clause broken: VOTE-06.", "judged clauses kept", "pytest was ended",
                                                 "Run just this again", "Conformance by section", "Every clause")]  # fmt: skip
    assert places == sorted(places)


def test_a_clause_opens_to_its_evidence_and_its_wire_log(tmp_path: Path, document: Document) -> None:
    clause = said(document, "VOTE-06", "FAIL", expected="no VOTE_UPDATE", observed="1 such")
    clause["checks"][0] |= {
        "readings": {"exclusion": f"{load_readings()['A11'].default} (detected)"},
        "frames": [
            frame(0.0021, '{"type":"SUBSCRIBE"}', direction="out"),
            frame(0.25, '{"type":"VOTE_UPDATE"}'),
            frame(0.5, '{"type":"VOTE_UPDATE","of":"another"}', own=False),
            frame(0.75, "Close 1000", opcode=8),
            frame(0.7512, "TCP ended by the server", direction="end", opcode=-1),
            frame(9.9, "PONG control frame, 5 bytes", connection="stranger", opcode=10),
        ],
    }
    document |= {"exit_code": 1, "reason": "1 clause broken: VOTE-06"}
    inside = Page(opened(made(tmp_path / "a", document), "VOTE-06"))
    reading = load_readings()["A11"]
    words = (
        "no VOTE_UPDATE",
        "1 such",
        reading.question,
        reading.permitted[reading.default],
        "detected",
        "--clause VOTE-06",
        "begun 1.5 s",
    )
    for word in words:
        assert word in inside.text
    rows = [" ".join(cells.split()) for cells in re.split(r"\n", inside.text) if re.match(r"\s*\d+\.\d{3}", cells)]
    assert len(rows) == 6
    tables = inside.all("table")
    assert [a.get("class") for a in tables] == ["wire", "wire"]
    assert "viewer: 5 frames" in inside.text
    assert "stranger: 1 frame\n" in inside.text
    for word in ("0.002", "+0.248", "harness", "target", "close", "end of TCP", "pong", "(another check's)"):
        assert word in inside.text


def hostile(document: Document) -> None:
    document |= {"reason": HOSTILE, "exit_code": 1, "problems": [HOSTILE, "\ud800\u202e"]}
    document["target"] = dict.fromkeys(document["target"], HOSTILE)
    document["selection"] |= {"clauses": [HOSTILE], "requirements": HOSTILE}
    document["readings"] = {HOSTILE: {"ambiguity": HOSTILE, "reading": HOSTILE, "source": "default", "meaning": HOSTILE}}
    for verdict, id_ in (("FAIL", "HS-01"), ("WARN", "HS-06"), ("INCONCLUSIVE", "HB-01"), ("INFO", "HS-09"), ("NOT_TESTABLE", "HS-13")):
        clause = said(document, id_, verdict, expected=HOSTILE, observed=HOSTILE, reason=HOSTILE, command=HOSTILE, statement=HOSTILE)
        frames = [frame(0.1, HOSTILE, connection=HOSTILE), frame(0.2, "\ud800\x00\u202e\u200b", connection=HOSTILE, opcode=2)]
        clause["checks"][0] |= {"check": HOSTILE, "hook": HOSTILE, "readings": {HOSTILE: HOSTILE}, "frames": frames}
    clause_of(document, "HS-02")["known"] = {"reason": HOSTILE, "expires": "2027-01-31"}


def test_nothing_that_came_over_the_wire_becomes_markup(tmp_path: Path, document: Document) -> None:
    said(document, "HS-01", "FAIL", expected="a", observed="b")["checks"][0]["frames"] = [frame(0.1, "x")]
    said(document, "HS-13", "NOT_TESTABLE", reason="no wss")
    plain = {tag for tag, _ in check(made(tmp_path / "a", document)).tags}
    evil = good_gate()
    hostile(evil)
    text = made(tmp_path / "b", evil)
    page = check(text)
    assert "<script" not in text
    assert {tag for tag, _ in page.tags} - plain <= {"strong"}
    assert page.text.count("<script>alert(1)</script>") >= 40
    assert "{{ 7*7 }}" in page.text
    assert "\\ud800\\u0000\\u202e\\u200b" in page.text
    assert not set(text) & set("\x00\x1b\u202e\u200b\ud800")


def test_a_flood_of_evidence_is_cut_and_counted(tmp_path: Path, document: Document) -> None:
    for number, clause in enumerate(document["clauses"]):
        verdict = "FAIL" if number % 57 == 0 else "WARN" if number % 3 else "INCONCLUSIVE"
        said(document, clause["id"], verdict, expected="<" * 4000, observed="&" * 4000, reason=f"{number}" + '"' * 4000)
        frames = [frame(n / 10, f"{n} " + "<&\u202e\"'" * 400, connection=f"socket {n % 6}") for n in range(48)]
        clause["checks"][0]["frames"] = frames
    document |= {"exit_code": 1, "reason": "3 clauses broken"}
    text = made(tmp_path / "a", document)
    page = check(text)
    assert len([a for a in page.all("details") if (a.get("class") or "").startswith("entry")]) == 171
    for part in re.findall(r'<details class="entry.*?</details>', text, re.DOTALL):
        for caption in re.findall(r"<caption>socket \d: (\d+) frames?(?:; (\d+) more in conformance.json)?</caption>", part):
            assert int(caption[0]) + int(caption[1] or 0) == 8
        assert len(re.findall(r"<caption>", part)) >= 6
    assert "more in conformance.json" in page.text


def test_long_wire_logs_are_shown_in_full_while_they_fit_and_failures_before_the_rest(tmp_path: Path, document: Document) -> None:
    text_of = '{"type":"VOTE_UPDATE","featureId":"clxyz123456789","voteCount":43,"timestamp":"2026-11-19T07:53:20.123Z"}'
    for clause in document["clauses"]:
        clause["checks"][0]["frames"] = [frame(n / 10, text_of, connection=f"socket {n % 6}") for n in range(60)]
    said(document, "HB-05", "FAIL", expected="a", observed="b")["checks"][0]["frames"] = [
        frame(n / 10, f"{n} {text_of}", connection=f"socket {n % 6}") for n in range(240)
    ]
    document |= {"exit_code": 1, "reason": "1 clause broken: HB-05"}
    text = made(tmp_path / "a", document)
    check(text)
    assert opened(text, "HB-05").count("<tr>") == 240 + 6
    shown = [part.count("VOTE_UPDATE") for id_, part in entries(text).items() if id_ != "HB-05"]
    assert 5 < min(shown) < 60


def test_what_was_not_tested_is_grouped_by_its_reason(tmp_path: Path, document: Document) -> None:
    why = "the profile has no hook start: add [hooks.start]"
    for id_ in ("CLS-02", "CLS-03"):
        said(document, id_, "NOT_TESTABLE", reason=why)
    clause_of(document, "LIM-01").update(verdict=None, reason="no check is written for it", checks=[])
    text = made(tmp_path / "a", document)
    check(text)
    start = text.index('<section aria-labelledby="untested">')
    table = Page(text[start : text.index("</section>", start) + len("</section>")])
    assert table.text.count(why) == 1
    assert re.search(r"not testable\s*2\s*CLS-02\s+CLS-03", table.text)
    assert re.search(r"no check is written for it\s*not judged\s*1\s*LIM-01", table.text)


def test_readings_say_question_meaning_and_where_they_come_from(tmp_path: Path, document: Document) -> None:
    for reading, source in zip(list(load_readings().values())[1:4], ("declared", "detected", "default"), strict=True):
        value = list(reading.permitted)[-1]
        document["readings"][reading.key] = {
            "ambiguity": reading.id,
            "reading": value,
            "source": source,
            "meaning": reading.permitted[value],
        }
    text = made(tmp_path / "a", document)
    start = text.index('<section aria-labelledby="taken">')
    rows = [Page(part).text for part in re.findall(r"<tr>.*?</tr>", text[start:], re.DOTALL)]
    for key, reading in document["readings"].items():
        asked = load_readings()[reading["ambiguity"]]
        row = next(part for part in rows if asked.question in part)
        assert f"{asked.id}: {asked.question}" in row
        for word in (f"{key} = {reading['reading']}", reading["source"], reading["meaning"]):
            assert word in row


def test_the_same_file_gives_the_same_bytes(tmp_path: Path, document: Document) -> None:
    assert made(tmp_path / "a" / "run", document) == made(tmp_path / "b" / "run", document)
    assert sorted(path.name for path in (tmp_path / "a" / "run").iterdir()) == ["conformance.json", "index.html"]


def test_a_folder_with_both_has_one_head_and_both_parts(tmp_path: Path, document: Document) -> None:
    folder = write(tmp_path / "a", good(Recipe()))
    said(document, "VOTE-06", "FAIL", expected="no VOTE_UPDATE", observed="1 such")
    document |= {"exit_code": 1, "reason": "1 clause broken: VOTE-06"}
    made_again = rebuild(write_gate(folder, document))
    page = check(RunFolder(made_again.folder).report.read_text("utf-8"))
    assert len(page.all("header")) == len(page.all("h1")) == 1
    kept = sum(each["verdict"] == "PASS" for each in document["clauses"])
    for word in (
        "FAIL shop",
        "Conformance FAIL: 1 clause broken: VOTE-06.",
        "Broadcast PASS: ",
        f"{kept} of {kept + 1}",
        "Vote to broadcast, p99",
    ):
        assert word in page.text
    assert len([a for a in page.all("div") if (a.get("class") or "").startswith("tile ")]) == 6
    assert len([drawing for drawing in page.all("svg") if drawing.get("role") == "img"]) == 7
    assert made_again.exit_code == 1
    assert made_again.text.startswith("FAIL: 1 clause broken")
    assert "\nPASS: " in made_again.text


def test_a_missed_benchmark_beside_a_kept_contract_fails_the_page(tmp_path: Path, document: Document) -> None:
    records = good(Recipe())
    of(records, "broadcasts")[0]["misdirected"][50] = 4
    made_again = rebuild(write_gate(write(tmp_path / "a", records), document))
    page = check(RunFolder(made_again.folder).report.read_text("utf-8"))
    assert "FAIL shop" in page.text
    assert "Conformance PASS: No MUST is broken." in page.text
    assert made_again.exit_code == 1


@pytest.mark.parametrize("kind", ["torn", "newer", "list", "missing", "wrong"])
def test_a_file_that_is_no_result_is_an_error_that_says_so(tmp_path: Path, document: Document, kind: str) -> None:
    folder = write_gate(tmp_path, document)
    path = folder / "conformance.json"
    data = json.loads(path.read_text("utf-8"))
    text = {
        "torn": path.read_text("utf-8")[:5000],
        "newer": json.dumps(data | {"format": 2}),
        "list": "[]",
        "missing": json.dumps({key: value for key, value in data.items() if key != "clauses"}),
        "wrong": json.dumps(data | {"clauses": [dict(data["clauses"][0], verdict="MAYBE")]}),
    }[kind]
    path.write_text(text, "utf-8")
    with pytest.raises(UsageError if kind in ("newer", "list") else RunInvalid, match=re.escape(str(path))):
        render(folder)
    assert not (folder / "index.html").exists()


def test_a_gate_run_that_was_cut_short_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "parts" / "all-1").mkdir(parents=True)
    with pytest.raises(RunInvalid, match="cut short before it was judged"):
        render(tmp_path)
    assert read_gate(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(("code", "word"), [(0, "PASS"), (1, "FAIL"), (3, "UNREACHABLE"), (4, "INVALID")])
def test_the_banner_follows_the_exit_code(tmp_path: Path, document: Document, code: int, word: str) -> None:
    document |= {"exit_code": code, "reason": "so it is"}
    folder = write_gate(tmp_path, document)
    with Journal(folder) as journal:
        journal.write({"kind": "header", "format": 1, "run": "the-run", "scenario": "conformance", "versions": {"python": "3.14"}})
        journal.close({"kind": "footer"})
    made_again = rebuild(folder)
    page = check(RunFolder(made_again.folder).report.read_text("utf-8"))
    assert f"{word} shop" in page.text
    assert "python 3.14" in page.text
    assert made_again.exit_code == code
    assert made_again.text.startswith(f"{word}: so it is\n")


def test_a_target_cannot_steer_the_terminal(tmp_path: Path, document: Document) -> None:
    hostile(document)
    document["reason"] = "broken\x1b[2J\nPASS"
    text = rebuild(write_gate(tmp_path, document)).text
    assert text.startswith("FAIL: broken")
    assert all(letter.isprintable() or letter in "\n\u202f" for letter in text)
    assert not any(line.startswith("PASS") for line in text.splitlines())


def test_a_page_after_the_gate_loads_neither_the_gate_nor_pandas(tmp_path: Path, document: Document) -> None:
    folder = write_gate(tmp_path, document)
    program = (
        "import sys; from pathlib import Path; from harness.report import render; render(Path(sys.argv[1]));"
        "print(sorted({'pandas', 'matplotlib', 'harness.conformance', 'locust'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_a_real_run_against_a_target_that_greets(tmp_path: Path) -> None:
    with listening(lambda sock: upgraded(sock, greet)) as port:
        run_gate(str(profile(tmp_path, port)), Selection(clauses=("HS-01", "HS-02", "HS-14")), tmp_path / "run", GateOptions())
    text = render(tmp_path / "run").read_text("utf-8")
    page = check(text)
    assert "FAIL wrong" in page.text
    assert [re.findall(r"[A-Z]+-\d\d", card.text)[0] for card in cards(text)] == ["HS-02", "HS-14"]
    assert "WELCOME" in Page(opened(text, "HS-14")).text
    assert "--clause HS-14" in page.text


def test_checks_of_a_clause_beyond_a_dozen_are_counted(tmp_path: Path, document: Document) -> None:
    clause = clause_of(document, "HS-01")
    clause["checks"] = [check_of(clause, check=f"test_own.py::test_{n}") for n in range(15)]
    assert "3 more checks of this clause are in conformance.json" in Page(opened(made(tmp_path / "a", document), "HS-01")).text
