"""The gate's report as JSON."""

from __future__ import annotations

import json
import math
from typing import Any

from benchbed.analysis.gate.report import Report


def as_json(report: Report) -> str:
    """Return everything, NaN as null: what was measured, its 95 % interval and the p-value."""
    found = {
        "sweep": report.sweep,
        "baseline": report.baseline,
        "exit_code": int(report.exit_code),
        "alpha": report.alpha,
        "notes": list(report.notes),
        "counts": report.counts,
        "findings": [
            {
                "cell": finding.cell,
                "test": finding.test,
                "outcome": finding.outcome,
                "message": finding.message,
                "value": _number(finding.value.value),
                "low": _number(finding.value.low),
                "high": _number(finding.value.high),
                "p_value": _number(finding.p_value),
            }
            for finding in report.findings
        ],
    }
    return json.dumps(found, indent=1)


def _number(value: float) -> Any:
    return value if math.isfinite(value) else None
