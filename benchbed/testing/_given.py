"""What a test is given: estimators and objectives in any of their forms, made ready to measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchbed.analysis.table import label
from benchbed.api import EstimatorLike, ObjectiveLike, estimator_of, fingerprint, objective_of
from benchbed.arguments import at_least, finite_number
from benchbed.contracts import Estimator, Objective, check_pair, obstacle
from benchbed.errors import BadArgument, BenchbedError, BrokenContract, one_line
from benchbed.measurement.cell import Measured, measure_cell
from benchbed.records import Blocks

Objectives = ObjectiveLike | Sequence[ObjectiveLike]

# Where an estimator is tried if nobody says where: small, curved, and each able to show a gradient
# that is 5 % too short in less than 500,000 draws of the plain score function.
PANEL: tuple[Mapping[str, Any], ...] = (
    {"name": "golden_bits"},
    {"name": "coupled", "dimensions": 4},
    {"name": "polynomial", "dimensions": 2, "categories": 4, "exponent": 1.5},
    {"name": "smooth", "dimensions": 2, "categories": 3},
    {"name": "elbo", "distance": 3.0},  # its J depends on the parameters, too
    {"name": "mixture_prior"},  # likewise
    {"name": "normal_quadratic", "dimensions": 2, "scale": 0.7},
    {"name": "normal_cosine", "k": 2.0, "scale": 0.7},
    {"name": "gamma_quadratic", "k": 1.0, "dimensions": 2},
    {"name": "beta_quadratic", "dimensions": 2},
    {"name": "dirichlet_quadratic", "dimensions": 2, "categories": 3},
    {"name": "poisson_quadratic", "dimensions": 2},
    {"name": "quantized"},
    {"name": "vector_quantized"},
    {"name": "step"},
    {"name": "snap", "dimensions": 2, "categories": 3},
    {"name": "markov_chain", "steps": 3, "categories": 3},
    {"name": "binary_tree", "leaves": 3},
    {"name": "nested", "categories": 3, "dimensions": 1},
    {"name": "iwae", "distance": 4.0},
    {"name": "iwae", "latents": "normal", "particles": 2, "distance": 4.0, "seed": 4},
)


class Case(NamedTuple):
    """One estimator on one objective."""

    name: str  # of the objective, with its settings
    objective: Objective
    estimator: Estimator

    def measure(
        self, draws: int, seed: int, *names: str, blocks: int = 64, dtype: str = "float32"
    ) -> Measured:
        """Measure without timing; ``names`` tell apart runs of one seed that share no noise."""
        try:
            return measure_cell(
                self.objective,
                self.estimator,
                draws=draws,
                seed=seed,
                address=(fingerprint(self.objective), *names),
                blocks=blocks,
                dtype=dtype,
                timing=0,
            )
        except BenchbedError:
            raise
        except Exception as error:
            raise BrokenContract(
                f"{self.estimator.name} failed on {self.name}: {one_line(error)}; if it is not "
                "made for that, name what it is made for with objective="
            ) from error


def cases(
    estimator: EstimatorLike, objective: Objectives | None, samples: int | None
) -> list[Case]:
    """Return ``estimator`` on each objective it is to be tried on.

    Raises:
        BenchbedError: a name, setting or pair that cannot work, or nothing that it fits.
    """
    method = built(estimator, samples)
    if objective is None:
        found = [Case(*_named(entry), method) for entry in PANEL]
        found = [case for case in found if not obstacle(case.objective, method)]
        if not found:
            raise BadArgument(
                f"{method.name} fits no objective of the default panel; name one with objective="
            )
        return found
    found = [Case(*_named(like), method) for like in _listed(objective)]
    if not found:
        raise BadArgument("objective is an empty list; leave it out for the default panel")
    for case in found:
        check_pair(case.objective, method)
    names = [case.name for case in found]
    return [  # two of one name stay two cells
        case._replace(name=f"{case.name} (number {number + 1})")
        if names.count(case.name) > 1
        else case
        for number, case in enumerate(found)
    ]


def one_case(estimator: EstimatorLike, objective: ObjectiveLike, samples: int | None) -> Case:
    """Return ``estimator`` on one objective.

    Raises:
        BenchbedError: a name, setting or pair that cannot work.
    """
    method = built(estimator, samples)
    case = Case(*_named(objective), method)
    check_pair(case.objective, method)
    return case


def built(estimator: EstimatorLike, samples: int | None) -> Estimator:
    """Return an estimator given in any of its forms."""
    return estimator_of(estimator, samples, 0)[1]


def _listed(objective: Objectives) -> list[ObjectiveLike]:
    if isinstance(objective, (str, Mapping, Objective)):
        return [objective]
    return list(objective)


def _named(like: ObjectiveLike) -> tuple[str, Objective]:
    entry, problem = objective_of(like)
    return label(entry), problem


def share(what: str, given: float, most: float = 1.0) -> float:
    """Return a number between 0 and ``most``, both excluded, or say that it must be one."""
    found = finite_number("a test", what, given)
    if not 0 < found < most:
        raise BadArgument(f"{what} must lie between 0 and {most:g}, got {given!r}; such as 0.01")
    return found


def most_draws(draws: int, most: int | None, factor: int) -> int:
    """Return up to how many draws a test may go: ``factor`` times the first if none is given."""
    first = at_least("a test", "draws", draws, 1)
    if most is None:
        return factor * first
    return at_least("a test", "max_draws", most, first, f"; draws is {first}")


def check_finite(case: Case, blocks: Blocks) -> None:
    """Fail if a draw held a NaN or an infinity."""
    lost = int(blocks.nonfinite.sum())
    if lost:
        drawn = int(blocks.count.sum()) + lost
        raise AssertionError(
            f"{case.estimator.name} on {case.name}: {lost:,} of {drawn:,} draws were NaN or "
            "infinite, which no mean or variance survives"
        )
