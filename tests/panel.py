"""The pairs that the statistical tests walk: every objective at small settings, every estimator."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from benchbed.analysis.verdict import CONFIRM_FACTOR
from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Estimator, Objective, check_pair
from benchbed.errors import IncompatiblePair
from benchbed.measurement.cell import measure_cell
from benchbed.records import Blocks
from benchbed.rng import Noise

OBJECTIVES: dict[str, dict[str, Any]] = {
    "quadratic": {"name": "quadratic", "dimensions": 4, "target": 0.3, "reduce": "sum"},
    "quadratic cubic": {"name": "quadratic", "dimensions": 4, "extension": "cubic"},
    "golden_bits": {"name": "golden_bits"},
    "golden_bits cubic": {"name": "golden_bits", "extension": "cubic"},
    "golden_bits multilinear": {"name": "golden_bits", "extension": "multilinear"},
    "coupled": {"name": "coupled", "dimensions": 5},
    "digits_vae untrained": {"name": "digits_vae", "training_steps": 0},
    "digits_vae": {"name": "digits_vae"},
    "polynomial": {"name": "polynomial", "dimensions": 3, "categories": 4, "exponent": 1.5},
    "table": {"name": "table", "dimensions": 2, "categories": 4},
    "smooth": {"name": "smooth", "dimensions": 3, "categories": 4},
    "smooth multilinear": {
        "name": "smooth",
        "dimensions": 2,
        "categories": 3,
        "extension": "multilinear",
    },
    "smooth cubic": {"name": "smooth", "dimensions": 2, "categories": 3, "extension": "cubic"},
    "digits_vae categorical": {"name": "digits_vae", "latents": "categorical"},
    "normal_quadratic": {"name": "normal_quadratic", "dimensions": 2, "scale": 0.7},
    "normal_exponential": {"name": "normal_exponential", "scale": 0.7},
    "normal_cosine": {"name": "normal_cosine", "k": 2.0, "scale": 0.7},
    "quantized": {"name": "quantized"},
    "gamma_quadratic": {"name": "gamma_quadratic", "k": 1.0, "dimensions": 2},
    "beta_quadratic": {"name": "beta_quadratic", "dimensions": 2},
    "dirichlet_quadratic": {"name": "dirichlet_quadratic", "dimensions": 2, "categories": 3},
    "poisson_quadratic": {"name": "poisson_quadratic", "dimensions": 2},
    "iwae bernoulli": {"name": "iwae", "distance": 2.0},
    "iwae categorical": {
        "name": "iwae",
        "latents": "categorical",
        "items": 2,
        "distance": 2.0,
        "seed": 2,
    },
    "iwae normal": {"name": "iwae", "latents": "normal", "particles": 3, "seed": 4},
    "elbo": {"name": "elbo"},
    "snap": {"name": "snap", "dimensions": 2, "categories": 3},
    "nested": {"name": "nested", "categories": 3, "dimensions": 1},
    "markov_chain": {"name": "markov_chain", "steps": 3, "categories": 3},
    "binary_tree": {"name": "binary_tree", "leaves": 3},
}

ESTIMATORS: dict[str, dict[str, Any]] = {
    "exact": {"name": "exact"},
    "score_function": {"name": "score_function", "samples": 2},
    "constant_baseline mean": {"name": "constant_baseline", "samples": 2},
    "constant_baseline optimal": {"name": "constant_baseline", "kind": "optimal"},
    "constant_baseline per coordinate": {
        "name": "constant_baseline",
        "kind": "optimal_per_coordinate",
    },
    "leave_one_out": {"name": "leave_one_out", "samples": 4},
    "arm": {"name": "arm", "samples": 4},
    "disarm": {"name": "disarm", "samples": 4},
    "rebar": {"name": "rebar", "samples": 2},
    "rebar tuned": {"name": "rebar", "eta": "tune", "temperature": "tune"},
    "reparameterization": {"name": "reparameterization", "samples": 2},
    "straight_through": {"name": "straight_through", "samples": 2, "temperature": 0.8},
    "gumbel_softmax": {"name": "gumbel_softmax", "samples": 2},
    "straight_through_gumbel_softmax": {"name": "straight_through_gumbel_softmax", "samples": 2},
    "reinmax": {"name": "reinmax", "samples": 2},
    "moving_average_baseline": {"name": "moving_average_baseline", "samples": 2},
    "self_critical": {"name": "self_critical", "samples": 2},
    "nvil": {"name": "nvil", "samples": 2},
    "nvil normalized": {"name": "nvil", "normalize": True},
    "muprop": {"name": "muprop", "samples": 2},
    "muprop simple": {"name": "muprop", "linear": False},
    "optimal_baseline_regression": {"name": "optimal_baseline_regression", "pilot": 2},
    "straight_through identity": {
        "name": "straight_through",
        "samples": 2,
        "derivative": "identity",
    },
    "straight_through clipped": {"name": "straight_through", "derivative": "clipped"},
    "step_straight_through": {"name": "step_straight_through"},
    "snap_straight_through": {"name": "snap_straight_through"},
    "darn": {"name": "darn", "samples": 2},
    "gumbel_rao": {"name": "gumbel_rao", "samples": 2, "replicates": 3},
    "reinmax_rao": {"name": "reinmax_rao", "samples": 2, "replicates": 3},
    "gapped_straight_through": {"name": "gapped_straight_through", "samples": 2},
    "gapped_straight_through p": {"name": "gapped_straight_through", "gap": "p"},
    "decoupled_straight_through": {"name": "decoupled_straight_through", "samples": 2},
    "invertible_gaussian": {"name": "invertible_gaussian", "samples": 2},
    "arms": {"name": "arms", "samples": 3},
    "carms": {"name": "carms", "samples": 3},
    "carms pair": {"name": "carms", "samples": 2},
    "antithetic_score_function": {"name": "antithetic_score_function", "samples": 4},
    "bitflip": {"name": "bitflip", "samples": 2},
    "ugc": {"name": "ugc", "samples": 4, "threshold": 0.35},
    "finite_difference": {"name": "finite_difference", "samples": 2},
    "finite_difference fresh": {"name": "finite_difference", "common": False},
    "spsa": {"name": "spsa", "samples": 2},
    "spsa fresh": {"name": "spsa", "common": False},
    "evolution_strategies": {"name": "evolution_strategies", "samples": 4},
    "evolution_strategies plain": {"name": "evolution_strategies", "antithetic": False},
    "quasi_monte_carlo_score_function": {"name": "quasi_monte_carlo_score_function", "samples": 8},
    "quasi_monte_carlo_reparameterization": {
        "name": "quasi_monte_carlo_reparameterization",
        "samples": 8,
    },
    "vq_straight_through": {"name": "vq_straight_through", "samples": 2},
    "rotation_trick": {"name": "rotation_trick", "samples": 2},
    "gumbel_vq": {"name": "gumbel_vq", "samples": 2},
    "gumbel_vq straight_through": {"name": "gumbel_vq", "straight_through": True},
    "implicit_reparameterization": {"name": "implicit_reparameterization", "samples": 2},
    "measure_valued": {"name": "measure_valued", "samples": 2},
    "measure_valued independent": {"name": "measure_valued", "coupled": False},
    "delta_control_variate": {"name": "delta_control_variate", "samples": 2, "pilot": 400},
    "iwae_reparameterization": {"name": "iwae_reparameterization", "samples": 2},
    "sticking_the_landing": {"name": "sticking_the_landing", "samples": 2},
    "doubly_reparameterized": {"name": "doubly_reparameterized", "samples": 2},
    "reweighted_wake_sleep": {"name": "reweighted_wake_sleep", "samples": 2},
    "thermodynamic": {"name": "thermodynamic", "samples": 2},
    "vimco": {"name": "vimco", "samples": 2},
    "vimco geometric": {"name": "vimco", "mean": "geometric"},
    "ovis": {"name": "ovis", "samples": 2, "auxiliary": 2},
    "ovis asymptotic": {"name": "ovis", "kind": "asymptotic", "gamma": 0.0},
    "ovis asymptotic biased": {"name": "ovis", "kind": "asymptotic", "gamma": 1.0},
    "ars": {"name": "ars", "samples": 2},
    "ars fixed": {"name": "ars", "reference": 1},
    "arsm": {"name": "arsm"},
    "disarm_stick_breaking": {"name": "disarm_stick_breaking", "samples": 4},
    "disarm_importance_weighted": {"name": "disarm_importance_weighted", "samples": 4},
    "local_expectation": {"name": "local_expectation", "samples": 2},
    "sum_and_sample": {"name": "sum_and_sample", "samples": 2},
    "rao_blackwell_score_function": {
        "name": "rao_blackwell_score_function",
        "top": 2,
        "samples": 2,
    },
    "unordered_set": {"name": "unordered_set", "samples": 2},
    "unordered_set plain": {"name": "unordered_set", "samples": 3, "baseline": False},
    "rebar muprop": {"name": "rebar", "relaxation": "muprop", "temperature": 1.0},
    "rebar tied": {"name": "rebar", "tied": True, "samples": 2},
    "relax": {"name": "relax", "steps": 50},
    "relax relaxed_cost": {"name": "relax", "surrogate": "relaxed_cost", "steps": 50},
    "lax": {"name": "lax", "steps": 100},
    "double_control_variates": {"name": "double_control_variates"},
    "rodeo": {"name": "rodeo", "steps": 50},
}


@cache
def objective(name: str) -> Objective:
    """Build a panel objective once."""
    return build_objective(**OBJECTIVES[name])


@cache
def estimator(name: str) -> Estimator:
    """Build a panel estimator."""
    return build_estimator(**ESTIMATORS[name])


@cache
def ready(where: str, which: str, dtype: torch.dtype = torch.float32) -> Estimator:
    """Return a panel estimator tuned, if it can be, on a stream of its own."""
    method, problem = estimator(which), objective(where)
    if method.tune is None:
        return method
    return method.tune(problem, problem.params.to(dtype), Noise(31, "tune", which, dtype=dtype))


def fits(problem: Objective, method: Estimator) -> bool:
    """Say whether the two can be used together."""
    try:
        check_pair(problem, method)
    except IncompatiblePair:
        return False
    return True


def pairs() -> list[tuple[str, str]]:
    """Return every (objective, estimator) that can work."""
    return [(o, e) for o in OBJECTIVES for e in ESTIMATORS if fits(objective(o), estimator(e))]


def blocks_of(
    problem: Objective, method: Estimator, draws: int, seed: int, dtype: str = "float32"
) -> Blocks:
    """Measure without timing and return the block sums."""
    found = measure_cell(
        problem, method, draws=draws, seed=seed, address=(problem.name,), timing=0, dtype=dtype
    )
    return found.blocks


def fresh_blocks(problem: Objective, method: Estimator, draws: int, seed: int) -> Blocks:
    """Measure again for the confirming run: another seed, more draws, no float32 rounding."""
    return blocks_of(problem, method, CONFIRM_FACTOR * draws, seed + 1_000, "float64")
