"""The one explicit table of objectives: no decorators, no registration by import."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchbed.contracts import Objective
from benchbed.objectives.coupled import coupled
from benchbed.objectives.digits_vae import digits_vae
from benchbed.objectives.golden_bits import golden_bits
from benchbed.objectives.iwae import iwae
from benchbed.objectives.normal_toys import normal_cosine, normal_exponential, normal_quadratic
from benchbed.objectives.polynomial import polynomial
from benchbed.objectives.quadratic import quadratic
from benchbed.objectives.quadratic_toys import (
    beta_quadratic,
    dirichlet_quadratic,
    gamma_quadratic,
    poisson_quadratic,
)
from benchbed.objectives.quantized import quantized
from benchbed.objectives.smooth import smooth
from benchbed.objectives.table import table

OBJECTIVES: Mapping[str, Callable[..., Objective]] = {
    "beta_quadratic": beta_quadratic,
    "coupled": coupled,
    "digits_vae": digits_vae,
    "dirichlet_quadratic": dirichlet_quadratic,
    "gamma_quadratic": gamma_quadratic,
    "golden_bits": golden_bits,
    "iwae": iwae,
    "normal_cosine": normal_cosine,
    "normal_exponential": normal_exponential,
    "normal_quadratic": normal_quadratic,
    "poisson_quadratic": poisson_quadratic,
    "polynomial": polynomial,
    "quadratic": quadratic,
    "quantized": quantized,
    "smooth": smooth,
    "table": table,
}
