"""The first screen of a conformance run: the verdict, its reason, the facts and the tiles."""

from __future__ import annotations

from collections import Counter

from harness import words
from harness.report.gate_file import Clause, Gate
from harness.report.gate_words import kept, rank, verdict_word
from harness.report.head import Head, Tile
from harness.report.origin import origin
from harness.verdict import Verdict

__all__ = ["gate_head"]

_SEEN = 300  # characters of what was seen
_QUIET = {
    2: "The command or the profile has to change first.",
    3: "The target was lost, so what was not judged by then says nothing about it.",
    4: "The evidence is not good enough to call the contract kept.",
}


def gate_head(gate: Gate) -> Head:
    """The first screen."""
    word = verdict_word(gate.exit_code)
    return Head(
        kind="conformance",
        verdict=word,
        word=word,
        exit_code=gate.exit_code,
        target=gate.target.get("name", ""),
        run=gate.run,
        moment=words.moment(gate.started),
        sentences=(f"{gate.reason[:1].upper()}{gate.reason[1:600]}.",),
        quiet=_QUIET.get(gate.exit_code, ""),
        todo=_first_step(gate),
        facts=(
            ("Target", gate.target.get("ws_url") or gate.target.get("base_url", "")),
            ("Date", words.moment(gate.started)),
            ("Duration", words.span(gate.duration)),
            ("Selected", _selection(gate)),
            ("Profile", gate.target.get("profile", "")),
            ("Run", gate.run),
            *(origin(gate.header) if gate.header else ()),
        ),
        tiles=_tiles(gate),
    )


def _first_step(gate: Gate) -> str:
    """Of the worst clause: what was seen in place of what, and how to see it again."""
    broken = sorted((each for each in gate.selected if each.fails), key=rank)
    if not broken:
        return ""
    first = broken[0]
    seen = f": {first.telling.observed} in place of {first.telling.expected}" if first.telling and first.telling.observed else ""
    again = f" See it alone: {first.command}" if first.command else ""
    return f"{first.id}{seen[:_SEEN]}.{again}"


def _selection(gate: Gate) -> str:
    chosen = [
        f"{name} {', '.join(map(str, gate.selection.get(key) or ()))}"
        for key, name in (("clauses", "clauses"), ("sections", "sections"), ("tiers", "tiers"), ("levels", "levels"))
        if gate.selection.get(key)
    ]
    pinned = [f"requirement set {gate.selection['requirements']}"] if gate.selection.get("requirements") else []
    which = [f"{gate.coverage[1]} of {len(gate.clauses)} clauses", f"{gate.selection.get('profile', 'full')} profile"]
    return "; ".join([*which, *chosen, *pinned])


def _tiles(gate: Gate) -> tuple[Tile, ...]:
    counts = Counter(each.verdict for each in gate.selected)
    held, judged = kept(gate.selected)
    tested, selected = gate.coverage
    must = [each for each in gate.selected if each.level == "MUST" and each.verdict in (Verdict.PASS, Verdict.FAIL)]
    should = [each for each in gate.selected if each.verdict in (Verdict.PASS, Verdict.WARN) and each.level == "SHOULD"]
    known = sum(each.verdict is Verdict.FAIL and each.known is not None for each in gate.selected)
    besides = f", {known} of them known" if known else ""
    open_ = counts[Verdict.INCONCLUSIVE]
    passed = Verdict.PASS if judged else Verdict.INCONCLUSIVE
    fails = any(each.fails for each in gate.selected)
    whole = Verdict.FAIL if fails else Verdict.INCONCLUSIVE if gate.exit_code else Verdict.WARN if held < judged else passed
    return (
        Tile("Conformance", f"{held} of {judged}", "judged clauses kept", whole),
        Tile(
            "MUST broken",
            str(counts[Verdict.FAIL]),
            f"of {len(must)} judged{besides}",
            (Verdict.FAIL if counts[Verdict.FAIL] > known else Verdict.WARN) if counts[Verdict.FAIL] else _or_open(must),
        ),
        Tile(
            "SHOULD broken",
            str(counts[Verdict.WARN]),
            f"of {len(should)} judged",
            Verdict.WARN if counts[Verdict.WARN] else _or_open(should),
        ),
        Tile(
            "Inconclusive",
            str(open_),
            "too little evidence to judge" if open_ else "every judged clause has its evidence",
            Verdict.INCONCLUSIVE if open_ else passed,
        ),
        Tile(
            "Coverage",
            words.percent(tested / selected) if selected else words.MISSING,
            f"{tested} of {selected} selected clauses tested",
            Verdict.INFO,
        ),
    )


def _or_open(judged: list[Clause]) -> Verdict:
    return Verdict.PASS if judged else Verdict.INFO
