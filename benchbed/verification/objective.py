"""An objective held against its own definition: its cost, its law and its exact gradient."""

from __future__ import annotations

from benchbed.contracts import Objective
from benchbed.errors import BrokenContract
from benchbed.verification.check import Check, broken
from benchbed.verification.cost import cost_checks
from benchbed.verification.gradient import gradient_checks
from benchbed.verification.law import law_checks
from benchbed.verification.record import record_checks

FIRST = ("params", "samples", "family", "cost")  # nothing can be said without them
STAGES = (
    ("family", record_checks),
    ("cost", cost_checks),
    ("family", law_checks),
    ("exact gradient", gradient_checks),
)


def verify_objective(objective: Objective) -> list[Check]:
    """Return every check of ``objective``, in the order in which to mend what fails.

    Exact comparisons are made at the objective's point and at one beside it, where no term vanishes
    by symmetry; the larger error counts. A cost that cannot be called at all is the only check.
    """
    found: list[Check] = []
    for name, stage in STAGES:
        try:
            found.extend(stage(objective))
        except BrokenContract as error:
            if name == "cost":
                return [broken(name, error)]
            found.append(broken(name, error))
        except Exception as error:
            found.append(broken(name, error))
        if stage is not law_checks and any(c.name in FIRST and not c.passed for c in found):
            break
    return found
