"""The result as JSON; its form is published in harness/conformance/conformance.schema.json and only ever grows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from harness.conformance.judgement import ClauseResult, GateResult
from harness.conformance.records import CheckRecord
from schemas import load_readings

__all__ = ["VERSION", "document"]

VERSION = 1


def document(result: GateResult, started: float) -> dict[str, Any]:
    """Everything the gate found. `started`: seconds since the epoch."""
    tested, selected = result.coverage
    selection = result.selection
    meanings = {each.key: each for each in load_readings().values()}
    return {
        "format": VERSION,
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "duration": round(result.duration, 3),
        "target": dict(result.target),
        "selection": {
            "clauses": list(selection.clauses),
            "sections": list(selection.sections),
            "tiers": list(selection.tiers),
            "levels": list(selection.levels),
            "profile": selection.profile,
            "requirements": selection.requirements,
        },
        "exit_code": int(result.exit_code),
        "reason": result.reason,
        "problems": list(result.problems),
        "counts": {str(verdict): count for verdict, count in result.counts.items()},
        "coverage": {"tested": tested, "selected": selected},
        "readings": {
            key: {"ambiguity": meanings[key].id, "reading": value, "source": source, "meaning": meanings[key].permitted[value]}
            for key, (value, source) in sorted(result.readings.items())
        },
        "clauses": [_clause(each) for each in result.clauses],
    }


def _clause(result: ClauseResult) -> dict[str, Any]:
    clause, known = result.clause, result.known
    return {
        "id": clause.id,
        "section": clause.section.key,
        "section_title": clause.section.title,
        "statement": clause.statement,
        "lines": list(clause.lines),
        "level": str(clause.level),
        "tier": str(clause.tier),
        "needs": list(clause.needs),
        "ambiguities": list(clause.readings),
        "since": clause.since,
        "selected": result.selected,
        "verdict": None if result.verdict is None else str(result.verdict),
        "reason": result.reason,
        "command": result.command,
        "known": None if known is None else {"reason": known.reason, "expires": known.expires.isoformat()},
        "stale": result.stale,
        "checks": [_check(each) for each in result.checks],
    }


def _check(record: CheckRecord) -> dict[str, Any]:
    return {
        "check": record.check,
        "verdict": str(record.verdict),
        "expected": record.expected,
        "observed": record.observed,
        "reason": record.reason,
        "hook": record.hook,
        "readings": dict(record.readings),
        "started": record.started,
        "duration": record.duration,
        "seen": record.seen,
        "frames": [
            {
                "connection": each.connection,
                "at": each.at,
                "direction": each.direction,
                "opcode": each.opcode,
                "text": each.text,
                "own": each.own,
            }
            for each in record.frames
        ],
    }
