"""The gate: a sweep's folder against a baseline file, and what the gate itself is worth."""

from benchbed.analysis.gate.report import Report
from benchbed.gate.check import check_results
from benchbed.gate.save import read_baseline, save_baseline

__all__ = ["Report", "check_results", "read_baseline", "save_baseline"]
