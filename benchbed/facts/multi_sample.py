"""The multi-sample bound and its gradients: rows S26 and S27.

L_K = E log (1/K) sum_k w_k comes from one integral over the law of a single weight (benchbed's
objectives) on one side. On the other it is listed: every K-tuple, or every multiset with as many
tuples as it stands for, in plain numpy, or a product rule over the noise. The inequalities are
equalities of their gaps.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchbed.estimators.ovis import ovis
from benchbed.estimators.vimco import vimco
from benchbed.facts import _linear_gaussian as linear
from benchbed.facts.fact import Array, Fact, Limit
from benchbed.measurement.exact_moments import exact_moments
from benchbed.objectives._log_mean_exp import expected_log_mean
from benchbed.objectives.iwae import iwae

Numbers = NDArray[Any]  # float64, or complex128 on a complex step

# One x, a latent of four values: p(x, z) and q(z | x).
JOINT = np.array([0.12, 0.05, 0.30, 0.01])
POSTERIOR = JOINT / JOINT.sum()
Q = np.array([0.40, 0.20, 0.25, 0.15])
WEIGHTS = JOINT / Q
FEW, SEVERAL = (1, 2, 3, 4), tuple(range(1, 13))
VARIANCE = 2 / 3  # of q in ``rainforth``, whose posterior's is 1/2


def _integrated(counts: tuple[int, ...]) -> Array:
    law = torch.from_numpy(Q), torch.from_numpy(np.log(WEIGHTS))
    return np.array([float(expected_log_mean(*law, count)) for count in counts])


def _tuples(count: int) -> tuple[NDArray[np.int64], Array]:
    """Return every tuple of values, [4^count, count], and its probability."""
    z = np.array(list(itertools.product(range(4), repeat=count)))
    return z, Q[z].prod(1)


def _by_multisets(probability: Numbers, weight: Numbers, count: int) -> Any:
    """Return L_K from how often each value comes up."""
    total: Any = 0.0
    for chosen in itertools.combinations_with_replacement(range(len(weight)), count):
        often = np.bincount(chosen, minlength=len(weight))
        tuples = math.factorial(count) / math.prod(math.factorial(n) for n in often)
        total = total + tuples * np.prod(probability**often) * np.log(often @ weight / count)
    return total


def _gaps() -> Array:
    """Return KL(q^K || the mean over k of p(z_k | x) prod_{j != k} q(z_j)), by tuples."""
    found = []
    for count in FEW:
        z, law = _tuples(count)
        mixture = np.zeros(len(z))
        for k in range(count):
            mixture += POSTERIOR[z[:, k]] * np.delete(Q[z], k, axis=1).prod(1) / count
        found.append(law @ np.log(law / mixture))
    return np.array(found)


def _mean_estimates() -> Array:
    """Return the mean over K-tuples of (1/K) sum_k log w_k."""
    found = []
    for count in FEW:
        z, law = _tuples(count)
        found.append(law @ np.log(WEIGHTS)[z].mean(1))
    return np.array(found)


def _elbo() -> float:
    """Return E_q log p(x | z) p(z) plus the entropy of q."""
    return float(Q @ np.log(JOINT) - Q @ np.log(Q))


# Two bits and three particles: estimators marginalized over all 64 tuples.
BITS = np.array(list(itertools.product((0.0, 1.0), repeat=2)))


def _marginalized() -> Array:
    problem = iwae(dimensions=2, particles=3, distance=2.0)
    found = [exact_moments(problem, method) for method in (vimco(), ovis(auxiliary=1))]
    return np.stack([moments.mean for moments in found if moments is not None])


def _slopes_of_bits() -> Array:
    """Return the gradient in q's logits by complex steps, twice."""
    problem = iwae(dimensions=2, particles=3, distance=2.0)
    assert problem.log_joint is not None
    joint = problem.log_joint(torch.from_numpy(BITS)[None, None])[0, 0].exp().numpy()
    found = []
    for i in range(2):
        logits = problem.params.numpy() + 1e-30j * np.eye(2)[i]
        p = 1 / (1 + np.exp(-logits))
        q = np.where(BITS == 1, p, 1 - p).prod(1)
        found.append(_by_multisets(q, joint / q, 3).imag / 1e-30)
    return np.array([found, found])


FACTS: tuple[Fact | Limit, ...] = (
    Fact(
        "S26",
        "a K-sample estimate of the ELBO",
        "E (1/K) sum_k log w_k = E_q log p(x, z) + H(q), for K = 1 .. 4",
        "S section 2.1, first paragraph",
        _mean_estimates,
        lambda: [_elbo()] * len(FEW),
        slip="printed without its sum over k: then its mean would be the ELBO / K",
    ),
    Fact(
        "S26",
        "L_1 is the ELBO",
        "L_1 = -1/2 E |z - mu|^2 - 1/2 E |x - z|^2 - D log 2 pi + H(q), linear Gaussian",
        "S section 2.1, below L_K",
        lambda: linear.bound_of(1).exact_value(),
        linear.elbo,
    ),
    Fact(
        "S26",
        "what a multi-sample bound leaves open",
        "log p(x) - L_K = KL(prod_k q(z_k) || (1/K) sum_k p(z_k | x) prod_{j != k} q(z_j))",
        "S section 2.1, L_K <= log p(x)",
        lambda: math.log(JOINT.sum()) - _integrated(FEW),
        _gaps,
    ),
    Fact(
        "S26",
        "a bound that rises with its particles",
        "L_1 < L_2 < .. < L_12, by multisets and by Frullani's integral",
        "S section 2.1, L_K",
        lambda: [_by_multisets(Q, WEIGHTS, count) for count in SEVERAL],
        lambda: _integrated(SEVERAL),
        ordered="rising",
    ),
    Limit(
        "S26",
        "how fast a multi-sample bound closes",
        "K (log p(x) - L_K) -> var(w) / (2 p(x)^2)",
        "S section 2.1, K -> infinity",
        (64, 128, 256, 512, 1024),
        lambda count: count * (math.log(JOINT.sum()) - _integrated((int(count),))),
        lambda: [0.5 * (Q @ WEIGHTS**2 / JOINT.sum() ** 2 - 1)],
        rate=1,
    ),
    Limit(
        "S26",
        "the bound tends to the log-likelihood",
        "L_K -> log p(x), like 1 / K, linear Gaussian",
        "S section 2.1, K -> infinity",
        (256, 512, 1024, 2048, 4096),
        lambda count: linear.bound_of(count).exact_value(),
        lambda: linear.evidences().sum(),
        rate=1,
    ),
    Fact(
        "S27",
        "the pathwise gradient of L_2",
        "E sum_k wt_k (d log w_k / dz_k dz_k / dm - d log q(z_k) / dm) = dL_2 / dm",
        "S section 2.1, last lines",
        lambda: linear.mean_of_pairs(doubly=False),
        linear.exact_pair,
    ),
    Fact(
        "S27",
        "the doubly reparameterized gradient of L_2",
        "E sum_k wt_k^2 d log w_k / dz_k dz_k / dm = dL_2 / dm",
        "S section 2.1, last lines",
        lambda: linear.mean_of_pairs(doubly=True),
        linear.exact_pair,
    ),
    Fact(
        "S27",
        "score-function gradients of L_3",
        "the means of vimco and ovis over all tuples = the gradient by multisets",
        "S section 2.1, last lines",
        _marginalized,
        _slopes_of_bits,
    ),
    Limit(
        "S27",
        "the inference network's gradient fades",
        "K dL_K / dm -> -1/2 d/dm E w^2 / p(x)^2, linear Gaussian",
        "S section 2.1, last lines",
        (1024, 2048, 4096, 8192),
        lambda count: count * linear.bound_of(count).exact_gradient().numpy(),
        linear.scaled_slopes,
        rate=1,
    ),
    Limit(
        "S27",
        "the model's gradient stays",
        "dL_K / d mu -> d log p(x) / d mu = (x - mu) / 2, linear Gaussian",
        "S section 2.1, last lines",
        (256, 512, 1024, 2048, 4096),
        lambda count: linear.bound_of(count, "generative").exact_gradient().numpy(),
        linear.gradient_of_evidence,
        rate=1,
    ),
)
