"""The pairs that the statistical tests walk: every objective at small settings, every estimator."""

from __future__ import annotations

from functools import cache
from typing import Any

from benchbed.analysis.verdict import CONFIRM_FACTOR
from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Estimator, Objective, check_pair
from benchbed.errors import IncompatiblePair
from benchbed.measurement.cell import measure_cell
from benchbed.records import Blocks

OBJECTIVES: dict[str, dict[str, Any]] = {
    "quadratic": {"name": "quadratic", "dimensions": 4, "target": 0.3, "reduce": "sum"},
    "quadratic cubic": {"name": "quadratic", "dimensions": 4, "extension": "cubic"},
    "golden_bits": {"name": "golden_bits"},
    "golden_bits multilinear": {"name": "golden_bits", "extension": "multilinear"},
    "coupled": {"name": "coupled", "dimensions": 5},
    "digits_vae untrained": {"name": "digits_vae", "training_steps": 0},
    "digits_vae": {"name": "digits_vae"},
    "polynomial": {"name": "polynomial", "dimensions": 3, "categories": 4, "exponent": 1.5},
    "table": {"name": "table", "dimensions": 2, "categories": 4},
    "smooth": {"name": "smooth", "dimensions": 3, "categories": 4},
    "digits_vae categorical": {"name": "digits_vae", "latents": "categorical"},
    "normal_quadratic": {"name": "normal_quadratic", "dimensions": 2, "scale": 0.7},
    "normal_exponential": {"name": "normal_exponential", "scale": 0.7},
    "normal_cosine": {"name": "normal_cosine", "k": 2.0, "scale": 0.7},
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
}


@cache
def objective(name: str) -> Objective:
    """Build a panel objective once."""
    return build_objective(**OBJECTIVES[name])


def estimator(name: str) -> Estimator:
    """Build a panel estimator."""
    return build_estimator(**ESTIMATORS[name])


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
