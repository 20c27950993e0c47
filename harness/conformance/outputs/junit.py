"""The result as JUnit XML, as CI systems read it: a suite a section, a case a clause."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from harness.conformance.conductor import explain
from harness.conformance.judgement import ClauseResult, GateResult
from harness.verdict import Verdict
from schemas import load_sections

__all__ = ["junit_xml"]

_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(result: GateResult) -> str:
    """FAIL and a stale baseline entry are failures, INCONCLUSIVE an error; what was not judged, and known failures, are skipped."""
    root = ET.Element("testsuites", name="conformance")
    totals = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for key, section in load_sections().items():
        within = [each for each in result.selected if each.clause.section.key == key]
        if not within:
            continue
        suite = ET.SubElement(root, "testsuite", name=f"{key} {section.title}")
        counted = dict.fromkeys(totals, 0)
        for each in within:
            counted["tests"] += 1
            kind = _case(suite, each)
            if kind:
                counted[kind] += 1
        for name, count in counted.items():
            suite.set(name, str(count))
            totals[name] += count
        suite.set("time", f"{sum(record.duration for each in within for record in each.checks):.3f}")
    for name, count in totals.items():
        root.set(name, str(count))
    root.set("time", f"{result.duration:.3f}")
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(suite: ET.Element, each: ClauseResult) -> str:
    case = ET.SubElement(
        suite, "testcase", classname=f"conformance.{each.clause.section.key}", name=f"{each.clause.id} {each.clause.statement}"
    )
    case.set("time", f"{sum(record.duration for record in each.checks):.3f}")
    telling = each.telling
    text = _clean(explain(telling, each.command, each.clause, frames=40) if telling is not None else each.reason)
    if each.fails:
        said = each.reason if each.stale or telling is None else f"expected {telling.expected}; observed {telling.observed}"
        ET.SubElement(case, "failure", type=str(each.verdict), message=_clean(said)).text = text
        return "failures"
    if each.verdict is Verdict.INCONCLUSIVE:
        ET.SubElement(case, "error", type="INCONCLUSIVE", message=_clean(each.reason)).text = text
        return "errors"
    if each.verdict in (None, Verdict.NOT_TESTABLE) or each.known is not None:
        why = f"known until {each.known.expires}: {each.known.reason}" if each.known is not None else each.reason
        ET.SubElement(case, "skipped", message=_clean(why))
        return "skipped"
    if each.verdict in (Verdict.WARN, Verdict.INFO):
        ET.SubElement(case, "system-out").text = text
    return ""


def _clean(text: str) -> str:
    return _NO_XML.sub("�", text)
