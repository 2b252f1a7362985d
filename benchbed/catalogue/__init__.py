"""Names: the two explicit tables, what they build, and functions of your own."""

from benchbed.catalogue.build import (
    build_estimator,
    build_objective,
    estimator_from,
    settings_of,
    takes_samples,
)
from benchbed.catalogue.estimators import ESTIMATORS
from benchbed.catalogue.find import module_of
from benchbed.catalogue.listing import listing
from benchbed.catalogue.objectives import OBJECTIVES

__all__ = [
    "ESTIMATORS",
    "OBJECTIVES",
    "build_estimator",
    "build_objective",
    "estimator_from",
    "listing",
    "module_of",
    "settings_of",
    "takes_samples",
]
