"""The gate's report as JUnit XML: a test case for every finding."""

from __future__ import annotations

import re
from xml.etree import ElementTree as Xml

from benchbed.analysis.gate.report import Report

_FORBIDDEN = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in XML 1.0
_AS = {"fail": "failure", "incomplete": "error"}
_SKIPPED = ("undecided", "insensitive", "not compared")
_WHERE_STRICT = {"undecided": "failure", "insensitive": "failure"}


def junit(report: Report) -> str:
    """Return the XML: failures for regressions, errors for missing or failed cells."""
    counts, kinds = report.counts, _AS | (_WHERE_STRICT if report.strict else {})
    skipped = [outcome for outcome in _SKIPPED if outcome not in kinds]
    failures = [outcome for outcome, kind in kinds.items() if kind == "failure"]
    suite = Xml.Element(
        "testsuite",
        name=f"benchbed.{_clean(report.sweep)}",
        tests=str(len(report.findings)),
        failures=str(sum(counts.get(outcome, 0) for outcome in failures)),
        errors=str(counts.get("incomplete", 0)),
        skipped=str(sum(counts.get(outcome, 0) for outcome in skipped)),
    )
    for finding in report.findings:
        name = _clean(finding.cell or report.sweep)
        case = Xml.SubElement(suite, "testcase", classname=name, name=finding.test)
        message = _clean(f"{finding.outcome}: {finding.message}")
        if finding.outcome in kinds:
            Xml.SubElement(case, kinds[finding.outcome], message=message)
        elif finding.outcome in skipped:
            Xml.SubElement(case, "skipped", message=message)
    Xml.indent(suite)
    return Xml.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("�", text)
