"""The gate's report for machines and reviews: Markdown, JUnit XML and JSON."""

from benchbed.report.gate.as_json import as_json
from benchbed.report.gate.junit import junit
from benchbed.report.gate.markdown import markdown

__all__ = ["as_json", "junit", "markdown"]
