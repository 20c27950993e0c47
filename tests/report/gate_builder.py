"""Writes real conformance.json files with known truths: all clauses of the catalogue, kept, until a test changes one of them."""

from __future__ import annotations

import copy
import functools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema

import harness.conformance
from schemas import load_clauses, load_readings

__all__ = ["Document", "check_of", "clause_of", "frame", "good_gate", "said", "write_gate"]

Document = dict[str, Any]
_VERDICTS = ("PASS", "FAIL", "WARN", "INFO", "NOT_TESTABLE", "INCONCLUSIVE")
_SCHEMA = json.loads((Path(harness.conformance.__file__).parent / "conformance.schema.json").read_text("utf-8"))
_VALIDATOR = jsonschema.Draft202012Validator(_SCHEMA)
_VALIDATED = 12


def good_gate() -> Document:
    """A full run in which every clause that can be judged is kept. Each caller has one of its own."""
    return copy.deepcopy(_good())


@functools.cache
def _good() -> Document:
    """It is held against the published form once."""
    made = _counted(_made())
    _VALIDATOR.validate(made)
    return made


def _made() -> Document:
    reading = load_readings()["A11"]
    return {
        "format": 1,
        "started": "2026-11-19T07:53:20.000Z",
        "duration": 61.25,
        "target": {"name": "shop", "base_url": "http://127.0.0.1:9", "ws_url": "ws://127.0.0.1:9/api/roadmap/ws", "profile": "shop.toml"},
        "selection": {"clauses": [], "sections": [], "tiers": [], "levels": [], "profile": "full", "requirements": ""},
        "exit_code": 0,
        "reason": "no MUST is broken",
        "problems": [],
        "readings": {
            reading.key: {
                "ambiguity": reading.id,
                "reading": reading.default,
                "source": "detected",
                "meaning": reading.permitted[reading.default],
            }
        },
        "clauses": [_kept(each.id) for each in load_clauses().values()],
    }


def _kept(id_: str) -> Document:
    clause = load_clauses()[id_]
    verdict = {"INFO": "INFO", "NOT_TESTABLE": "NOT_TESTABLE"}.get(str(clause.level), "PASS")
    data: Document = {
        "id": id_,
        "section": clause.section.key,
        "section_title": clause.section.title,
        "statement": clause.statement,
        "lines": list(clause.lines),
        "level": str(clause.level),
        "tier": str(clause.tier),
        "needs": list(clause.needs),
        "ambiguities": list(clause.readings),
        "since": clause.since,
        "selected": True,
        "verdict": verdict,
        "reason": "",
        "command": f"roadmap-harness check shop.toml --clause {id_}",
        "known": None,
        "stale": False,
        "checks": [],
    }
    data["checks"].append(check_of(data))
    return data


def check_of(clause: Document, **changed: Any) -> Document:
    """A check of the clause that ended as the clause did."""
    key = clause["section"].lower()
    return {
        "check": f"test_{key}.py::test_{clause['id'].lower().replace('-', '_')}",
        "verdict": clause["verdict"],
        "expected": "",
        "observed": "",
        "reason": "",
        "hook": "",
        "readings": {},
        "started": 1.5,
        "duration": 0.25,
        "seen": 0,
        "frames": [],
    } | changed


def frame(at: float, text: str, *, connection: str = "viewer", direction: str = "in", opcode: int = 1, own: bool = True) -> Document:
    """One frame of the evidence; `at` in seconds since its connection opened."""
    return {"connection": connection, "at": at, "direction": direction, "opcode": opcode, "text": text, "own": own}


def clause_of(document: Document, id_: str) -> Document:
    """The clause, to be changed in place."""
    found: Document = next(each for each in document["clauses"] if each["id"] == id_)
    return found


def said(
    document: Document, id_: str, verdict: str, *, expected: str = "", observed: str = "", reason: str = "", **changed: Any
) -> Document:
    """Let a clause end otherwise; answers the clause."""
    clause = clause_of(document, id_)
    clause |= {"verdict": verdict, "reason": reason or observed} | changed
    clause["checks"] = [check_of(clause, expected=expected, observed=observed, reason=reason)]
    return clause


def write_gate(folder: Path, document: Document) -> Path:
    """The file in a run folder, with counts and coverage that are true, in the form that is published: that is asked of whatever a test
    has changed, and of many clauses of the first dozen.
    """
    whole = _counted(document)
    kept = {each["id"]: each for each in _good()["clauses"]}
    changed = [each for each in whole["clauses"] if each != kept.get(each["id"])]
    _VALIDATOR.validate(whole | {"clauses": changed[:_VALIDATED]})
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(whole, ensure_ascii=False, indent=1)
    (folder / "conformance.json").write_text(text + "\n", "utf-8", errors="backslashreplace")
    return folder


def _counted(document: Document) -> Document:
    selected = [each for each in document["clauses"] if each["selected"]]
    counted = Counter(each["verdict"] for each in selected)
    tested = sum(counted[verdict] for verdict in ("PASS", "FAIL", "WARN", "INFO"))
    return document | {
        "counts": {verdict: counted[verdict] for verdict in _VERDICTS},
        "coverage": {"tested": tested, "selected": len(selected)},
    }
