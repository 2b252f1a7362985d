"""An objective held against its own definition: its cost, its law and its exact gradient."""

from __future__ import annotations

import math

from benchbed.contracts import Objective
from benchbed.errors import BrokenContract
from benchbed.verification.check import Check
from benchbed.verification.cost import cost_checks, law_checks
from benchbed.verification.gradient import gradient_checks


def verify_objective(objective: Objective) -> list[Check]:
    """Return every check of ``objective``, in the order in which to mend what fails.

    Exact comparisons are made at the objective's point and at one beside it, where no term vanishes
    by symmetry; the larger error counts. A cost that cannot be called at all is the only check.
    """
    try:
        found = list(cost_checks(objective))
    except BrokenContract as error:
        return [Check("cost", "its contract", math.inf, 0.0, str(error))]
    return found + list(law_checks(objective)) + gradient_checks(objective)
