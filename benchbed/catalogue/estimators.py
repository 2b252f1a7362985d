"""The one explicit table of estimators: no decorators, no registration by import."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchbed.contracts import Estimator
from benchbed.estimators.arm import arm
from benchbed.estimators.constant_baseline import constant_baseline
from benchbed.estimators.disarm import disarm
from benchbed.estimators.exact import exact
from benchbed.estimators.gumbel_softmax import gumbel_softmax
from benchbed.estimators.leave_one_out import leave_one_out
from benchbed.estimators.rebar import rebar
from benchbed.estimators.reinmax import reinmax
from benchbed.estimators.reparameterization import reparameterization
from benchbed.estimators.score_function import score_function
from benchbed.estimators.straight_through import straight_through
from benchbed.estimators.straight_through_gumbel_softmax import straight_through_gumbel_softmax

ESTIMATORS: Mapping[str, Callable[..., Estimator]] = {
    "arm": arm,
    "constant_baseline": constant_baseline,
    "disarm": disarm,
    "exact": exact,
    "gumbel_softmax": gumbel_softmax,
    "leave_one_out": leave_one_out,
    "rebar": rebar,
    "reinmax": reinmax,
    "reparameterization": reparameterization,
    "score_function": score_function,
    "straight_through": straight_through,
    "straight_through_gumbel_softmax": straight_through_gumbel_softmax,
}
