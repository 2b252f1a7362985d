"""Assertions on gradient estimators, one line in a test suite of your own.

Each states how often a correct estimator fails it: over random seeds. With a fixed seed, which is
the default, the same code always gives the same outcome.
"""

from benchbed.testing.same_law import assert_same_gradient_distribution
from benchbed.testing.unbiased import assert_unbiased
from benchbed.testing.variance import assert_variance_at_most

__all__ = [
    "assert_same_gradient_distribution",
    "assert_unbiased",
    "assert_variance_at_most",
]
