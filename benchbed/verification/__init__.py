"""Objectives held against their own definition."""

from benchbed.verification.check import Check
from benchbed.verification.gradient import gradient_checks
from benchbed.verification.objective import verify_objective

__all__ = ["Check", "gradient_checks", "verify_objective"]
