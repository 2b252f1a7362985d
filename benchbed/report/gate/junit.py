"""The gate's report as JUnit XML: a test case for every finding."""

from __future__ import annotations

import re
from xml.etree import ElementTree as Xml

from benchbed.analysis.gate.report import Report

_FORBIDDEN = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in XML 1.0
_AS = {"fail": "failure", "incomplete": "error"}
_SKIPPED = ("undecided", "insensitive", "not compared")


def junit(report: Report) -> str:
    """Return the XML: failures for regressions, errors for missing or failed cells."""
    counts = report.counts
    suite = Xml.Element(
        "testsuite",
        name=f"benchbed.{_clean(report.sweep)}",
        tests=str(len(report.findings)),
        failures=str(counts.get("fail", 0)),
        errors=str(counts.get("incomplete", 0)),
        skipped=str(sum(counts.get(outcome, 0) for outcome in _SKIPPED)),
    )
    for finding in report.findings:
        name = _clean(finding.cell or report.sweep)
        case = Xml.SubElement(suite, "testcase", classname=name, name=finding.test)
        message = _clean(f"{finding.outcome}: {finding.message}")
        if finding.outcome in _AS:
            Xml.SubElement(case, _AS[finding.outcome], message=message)
        elif finding.outcome in _SKIPPED:
            Xml.SubElement(case, "skipped", message=message)
    Xml.indent(suite)
    return Xml.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("�", text)
