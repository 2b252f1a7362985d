"""The one explicit table of objectives: no decorators, no registration by import."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchbed.contracts import Objective
from benchbed.objectives.adversarial import adversarial
from benchbed.objectives.binary_tree import binary_tree
from benchbed.objectives.compartmentalized import compartmentalized
from benchbed.objectives.conditional_prior import conditional_prior
from benchbed.objectives.coupled import coupled
from benchbed.objectives.digits_vae import digits_vae
from benchbed.objectives.elbo import elbo
from benchbed.objectives.expectation_maximization import expectation_maximization
from benchbed.objectives.golden_bits import golden_bits
from benchbed.objectives.hidden_markov import hidden_markov
from benchbed.objectives.hierarchical_prior import hierarchical_prior
from benchbed.objectives.iwae import iwae
from benchbed.objectives.log_marginal import log_marginal
from benchbed.objectives.logistic_regression import logistic_regression
from benchbed.objectives.markov_chain import markov_chain
from benchbed.objectives.mixture_prior import mixture_prior
from benchbed.objectives.mohamed_toy import mohamed_toy
from benchbed.objectives.nested import nested
from benchbed.objectives.normal_toys import normal_cosine, normal_exponential, normal_quadratic
from benchbed.objectives.pcfg import pcfg
from benchbed.objectives.polynomial import polynomial
from benchbed.objectives.prior_bound import prior_bound
from benchbed.objectives.published_bits import arm_toy, double_cv_toy, rebar_toy, shared_logit_toy
from benchbed.objectives.published_categories import carms_toy, gumbel_rao_toy, reinmax_toy
from benchbed.objectives.quadratic import quadratic
from benchbed.objectives.quadratic_toys import (
    beta_quadratic,
    dirichlet_quadratic,
    gamma_quadratic,
    poisson_quadratic,
)
from benchbed.objectives.quantized import quantized
from benchbed.objectives.rainforth import rainforth
from benchbed.objectives.rate_distortion import rate_distortion
from benchbed.objectives.smooth import smooth
from benchbed.objectives.snap import snap
from benchbed.objectives.step import step
from benchbed.objectives.table import table
from benchbed.objectives.vamp_prior import vamp_prior
from benchbed.objectives.vector_quantized import vector_quantized

OBJECTIVES: Mapping[str, Callable[..., Objective]] = {
    "adversarial": adversarial,
    "arm_toy": arm_toy,
    "beta_quadratic": beta_quadratic,
    "binary_tree": binary_tree,
    "carms_toy": carms_toy,
    "compartmentalized": compartmentalized,
    "conditional_prior": conditional_prior,
    "coupled": coupled,
    "digits_vae": digits_vae,
    "dirichlet_quadratic": dirichlet_quadratic,
    "double_cv_toy": double_cv_toy,
    "elbo": elbo,
    "expectation_maximization": expectation_maximization,
    "gamma_quadratic": gamma_quadratic,
    "golden_bits": golden_bits,
    "gumbel_rao_toy": gumbel_rao_toy,
    "hidden_markov": hidden_markov,
    "hierarchical_prior": hierarchical_prior,
    "iwae": iwae,
    "log_marginal": log_marginal,
    "logistic_regression": logistic_regression,
    "markov_chain": markov_chain,
    "mixture_prior": mixture_prior,
    "mohamed_toy": mohamed_toy,
    "nested": nested,
    "normal_cosine": normal_cosine,
    "normal_exponential": normal_exponential,
    "normal_quadratic": normal_quadratic,
    "pcfg": pcfg,
    "poisson_quadratic": poisson_quadratic,
    "polynomial": polynomial,
    "prior_bound": prior_bound,
    "quadratic": quadratic,
    "quantized": quantized,
    "rainforth": rainforth,
    "rate_distortion": rate_distortion,
    "rebar_toy": rebar_toy,
    "reinmax_toy": reinmax_toy,
    "shared_logit_toy": shared_logit_toy,
    "smooth": smooth,
    "snap": snap,
    "step": step,
    "table": table,
    "vamp_prior": vamp_prior,
    "vector_quantized": vector_quantized,
}
