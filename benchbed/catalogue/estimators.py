"""The one explicit table of estimators: no decorators, no registration by import."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchbed.contracts import Estimator
from benchbed.estimators.antithetic_score_function import antithetic_score_function
from benchbed.estimators.arm import arm
from benchbed.estimators.arms import arms
from benchbed.estimators.ars import ars
from benchbed.estimators.arsm import arsm
from benchbed.estimators.bitflip import bitflip
from benchbed.estimators.carms import carms
from benchbed.estimators.constant_baseline import constant_baseline
from benchbed.estimators.darn import darn
from benchbed.estimators.decoupled_straight_through import decoupled_straight_through
from benchbed.estimators.delta_control_variate import delta_control_variate
from benchbed.estimators.disarm import disarm
from benchbed.estimators.disarm_importance_weighted import disarm_importance_weighted
from benchbed.estimators.disarm_stick_breaking import disarm_stick_breaking
from benchbed.estimators.double_control_variates import double_control_variates
from benchbed.estimators.doubly_reparameterized import doubly_reparameterized
from benchbed.estimators.evolution_strategies import evolution_strategies
from benchbed.estimators.exact import exact
from benchbed.estimators.finite_difference import finite_difference
from benchbed.estimators.gapped_straight_through import gapped_straight_through
from benchbed.estimators.gumbel_rao import gumbel_rao
from benchbed.estimators.gumbel_softmax import gumbel_softmax
from benchbed.estimators.gumbel_vq import gumbel_vq
from benchbed.estimators.implicit_reparameterization import implicit_reparameterization
from benchbed.estimators.invertible_gaussian import invertible_gaussian
from benchbed.estimators.iwae_reparameterization import iwae_reparameterization
from benchbed.estimators.lax import lax
from benchbed.estimators.leave_one_out import leave_one_out
from benchbed.estimators.local_expectation import local_expectation
from benchbed.estimators.measure_valued import measure_valued
from benchbed.estimators.moving_average_baseline import moving_average_baseline
from benchbed.estimators.muprop import muprop
from benchbed.estimators.nvil import nvil
from benchbed.estimators.optimal_baseline_regression import optimal_baseline_regression
from benchbed.estimators.ovis import ovis
from benchbed.estimators.quasi_monte_carlo_reparameterization import (
    quasi_monte_carlo_reparameterization,
)
from benchbed.estimators.quasi_monte_carlo_score_function import quasi_monte_carlo_score_function
from benchbed.estimators.rao_blackwell_score_function import rao_blackwell_score_function
from benchbed.estimators.rebar import rebar
from benchbed.estimators.reinmax import reinmax
from benchbed.estimators.reinmax_rao import reinmax_rao
from benchbed.estimators.relax import relax
from benchbed.estimators.reparameterization import reparameterization
from benchbed.estimators.reweighted_wake_sleep import reweighted_wake_sleep
from benchbed.estimators.rodeo import rodeo
from benchbed.estimators.rotation_trick import rotation_trick
from benchbed.estimators.score_function import score_function
from benchbed.estimators.self_critical import self_critical
from benchbed.estimators.snap_straight_through import snap_straight_through
from benchbed.estimators.spsa import spsa
from benchbed.estimators.step_straight_through import step_straight_through
from benchbed.estimators.sticking_the_landing import sticking_the_landing
from benchbed.estimators.straight_through import straight_through
from benchbed.estimators.straight_through_gumbel_softmax import straight_through_gumbel_softmax
from benchbed.estimators.sum_and_sample import sum_and_sample
from benchbed.estimators.thermodynamic import thermodynamic
from benchbed.estimators.ugc import ugc
from benchbed.estimators.unordered_set import unordered_set
from benchbed.estimators.vimco import vimco
from benchbed.estimators.vq_straight_through import vq_straight_through

ESTIMATORS: Mapping[str, Callable[..., Estimator]] = {
    "antithetic_score_function": antithetic_score_function,
    "arm": arm,
    "arms": arms,
    "ars": ars,
    "arsm": arsm,
    "bitflip": bitflip,
    "carms": carms,
    "constant_baseline": constant_baseline,
    "darn": darn,
    "decoupled_straight_through": decoupled_straight_through,
    "delta_control_variate": delta_control_variate,
    "disarm": disarm,
    "disarm_importance_weighted": disarm_importance_weighted,
    "disarm_stick_breaking": disarm_stick_breaking,
    "double_control_variates": double_control_variates,
    "doubly_reparameterized": doubly_reparameterized,
    "evolution_strategies": evolution_strategies,
    "exact": exact,
    "finite_difference": finite_difference,
    "gapped_straight_through": gapped_straight_through,
    "gumbel_rao": gumbel_rao,
    "gumbel_softmax": gumbel_softmax,
    "gumbel_vq": gumbel_vq,
    "implicit_reparameterization": implicit_reparameterization,
    "invertible_gaussian": invertible_gaussian,
    "iwae_reparameterization": iwae_reparameterization,
    "lax": lax,
    "leave_one_out": leave_one_out,
    "local_expectation": local_expectation,
    "measure_valued": measure_valued,
    "moving_average_baseline": moving_average_baseline,
    "muprop": muprop,
    "nvil": nvil,
    "optimal_baseline_regression": optimal_baseline_regression,
    "ovis": ovis,
    "quasi_monte_carlo_reparameterization": quasi_monte_carlo_reparameterization,
    "quasi_monte_carlo_score_function": quasi_monte_carlo_score_function,
    "rao_blackwell_score_function": rao_blackwell_score_function,
    "rebar": rebar,
    "reinmax": reinmax,
    "reinmax_rao": reinmax_rao,
    "relax": relax,
    "reparameterization": reparameterization,
    "reweighted_wake_sleep": reweighted_wake_sleep,
    "rodeo": rodeo,
    "rotation_trick": rotation_trick,
    "score_function": score_function,
    "self_critical": self_critical,
    "snap_straight_through": snap_straight_through,
    "spsa": spsa,
    "step_straight_through": step_straight_through,
    "sticking_the_landing": sticking_the_landing,
    "straight_through": straight_through,
    "straight_through_gumbel_softmax": straight_through_gumbel_softmax,
    "sum_and_sample": sum_and_sample,
    "thermodynamic": thermodynamic,
    "ugc": ugc,
    "unordered_set": unordered_set,
    "vimco": vimco,
    "vq_straight_through": vq_straight_through,
}
