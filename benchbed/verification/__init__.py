"""Objectives held against their own definition."""

from benchbed.verification.check import Check
from benchbed.verification.gradient import gradient_checks
from benchbed.verification.objective import verify_objective
from benchbed.verification.variants import every_setting

__all__ = ["Check", "every_setting", "gradient_checks", "verify_objective"]
