"""A divergence as a maximum over a critic, and its gradient with the critic frozen: S15 and S16."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog, minimize_scalar
from scipy.spatial.distance import cdist, jensenshannon
from scipy.special import expit, logit, softmax
from scipy.stats import entropy, wasserstein_distance

from benchbed.facts.fact import Fact
from benchbed.objectives._optimal_transport import transport
from benchbed.objectives.adversarial import Kind, adversarial, seeded_space
from benchbed.rng import Noise

Array = NDArray[np.float64]
STATES, SEED = 5, 2
SPACE = seeded_space(STATES, 1, Noise(SEED, "adversarial", dtype=torch.float64))
POP: Array = SPACE.pop.numpy()
PLACES: Array = SPACE.points.numpy()
THETA: Array = adversarial(categories=STATES, seed=SEED).params.numpy()[0]
P: Array = np.exp(THETA) / np.exp(THETA).sum()
BEST = POP / (POP + P)  # the discriminator
AWAY = np.array([1.1, -0.7, 0.4, -1.3, 0.8])
PATH = np.linspace(0, 1, 6)
LINE = np.array([-1.2, 0.1, 0.5, 1.7, 2.6])
ADVERSARIAL = "S section 1, variational adversarial optimization"
SLIP = "NCE is called a tightable upper bound of 2 JSD - log 4; it is a lower one: q maximizes it"
POWERS: tuple[Kind, ...] = ("kl", "reverse_kl", "pearson", "squared_hellinger")

# In closed form, complex numbers allowed: D(pop, p), and f*(T) at T = f'(u), u = pop / p.
DISTANCE: Mapping[str, Callable[[Array], Array]] = {
    "kl": lambda p: (POP * np.log(POP / p)).sum(),
    "reverse_kl": lambda p: (p * np.log(p / POP)).sum(),
    "pearson": lambda p: ((POP - p) ** 2 / p).sum(),
    "squared_hellinger": lambda p: 2 - 2 * np.sqrt(POP * p).sum(),
    "jsd": lambda p: (
        0.5 * (POP * np.log(2 * POP / (POP + p)) + p * np.log(2 * p / (POP + p))).sum()
    ),
}
PENALTY: Mapping[str, Callable[[Array], Array]] = {
    "kl": lambda u: u,
    "reverse_kl": lambda u: np.log(u) - 1,
    "pearson": lambda u: u**2 - 1,
    "squared_hellinger": lambda u: np.sqrt(u) - 1,
    "jsd": lambda u: 0.5 * np.log((1 + u) / 2),
}


def _by_theta(function: Callable[[Array], Array]) -> Array:
    """The gradient in the logits of a function of p, along the imaginary axis: no rounding."""
    found = np.empty(STATES)
    for k in range(STATES):
        moved = THETA.astype(complex)
        moved[k] += 1e-20j
        found[k] = function(np.exp(moved) / np.exp(moved).sum()).imag / 1e-20
    return found


def _frozen(kind: Kind) -> Array:
    """The exact gradient of benchbed's objective, whose critic does not move."""
    found = adversarial(kind, categories=STATES, seed=SEED).exact_gradient()
    return np.asarray(found.numpy()[0])


def _value(kind: Kind) -> float:
    return float(adversarial(kind, categories=STATES, seed=SEED).exact_value())


def _moving(kind: Kind) -> Array:
    """The gradient of -E_p[f*(T)] with T = f'(pop / p) following p."""
    return _by_theta(lambda p: -(p * PENALTY[kind](POP / p)).sum())


def _nce(discriminator: Array) -> float:
    return float(POP @ np.log(discriminator) + P @ np.log1p(-discriminator))


def _searched_nce() -> float:
    """The largest NCE, found outcome by outcome without the formula of the best discriminator."""
    total = 0.0
    for real, fake in zip(POP, P, strict=True):

        def loss(t: float, real: float = real, fake: float = fake) -> float:
            return float(real * np.logaddexp(0, -t) + fake * np.logaddexp(0, t))

        total -= minimize_scalar(loss, (-1, 1), tol=1e-14).fun
    return total


def _two_jsd() -> float:
    return float(2 * jensenshannon(POP, P) ** 2 - math.log(4))


def _discriminators() -> Array:
    """On the way from another discriminator to the best one, [steps, outcomes]."""
    return np.asarray(expit(logit(BEST) + (1 - PATH[:, None]) * AWAY))


def _below() -> Array:
    """2 JSD - log 4 less the mean KL between the labels' laws, given x, and the discriminator's."""
    gaps = [
        (POP + P) @ (BEST * np.log(BEST / d) + (1 - BEST) * np.log((1 - BEST) / (1 - d)))
        for d in _discriminators()
    ]
    return np.asarray(_two_jsd() - np.array(gaps))


def _score_of(weights: Array) -> Array:
    """E_p[weights d log p / d logits]."""
    return np.asarray(P * weights - P * (P @ weights))


def _coupled(p: Array) -> float:
    """W1 as the cheapest joint law of both sides."""
    n = len(p)
    balance = np.concatenate((np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))))
    sides = np.concatenate((POP, p))
    cost = cdist(PLACES, PLACES).ravel()
    return float(linprog(cost, A_eq=balance[:-1], b_eq=sides[:-1], method="highs-ds").fun)


def _dual() -> float:
    """W1 as the largest difference of means of a 1-Lipschitz function."""
    metric = cdist(PLACES, PLACES)
    first, second = np.nonzero(~np.eye(STATES, dtype=bool))
    rows = np.eye(STATES)[first] - np.eye(STATES)[second]
    free = [(0.0, 0.0), *[(None, None)] * (STATES - 1)]
    return -float(linprog(P - POP, A_ub=rows, b_ub=metric[first, second], bounds=free).fun)


def _differences() -> Array:
    """dW1/dlogits by central differences of the joint law's cost, twice and extrapolated."""
    found = np.empty(STATES)
    for k in range(STATES):
        rates = []
        for step in (1e-3, 5e-4):
            ends = (softmax(THETA + sign * step * np.eye(STATES)[k]) for sign in (1, -1))
            high, low = (_coupled(p) for p in ends)
            rates.append((high - low) / (2 * step))
        found[k] = (4 * rates[1] - rates[0]) / 3
    return found


FACTS: tuple[Fact, ...] = (
    Fact(
        "S15",
        "the best discriminator's NCE",
        "max over D of E_pop[log D] + E_p[log(1 - D)] = 2 JSD(pop, p) - log 4",
        ADVERSARIAL,
        _searched_nce,
        _two_jsd,
        slip=SLIP,
    ),
    Fact(
        "S15",
        "every other discriminator is below it",
        "NCE(D) = 2 JSD - log 4 - sum (pop + p) KL(Bernoulli(pop / (pop + p)) || Bernoulli(D))",
        ADVERSARIAL,
        lambda: np.array([_nce(d) for d in _discriminators()]),
        _below,
        ordered="rising",
        slip=SLIP,
    ),
    Fact(
        "S15",
        "a frozen critic has the divergence's gradient",
        "d/dtheta E_p[-f*(T)] at T = best critic, held fixed, = d/dtheta JSD(pop, p)",
        ADVERSARIAL,
        lambda: _frozen("jsd"),
        lambda: _by_theta(DISTANCE["jsd"]),
    ),
    Fact(
        "S15",
        "the term that a moving critic adds",
        "with T following theta in -E_p[f*(T)] alone: + E_p[u^2 f''(u) dlog p], u = pop / p",
        ADVERSARIAL,
        lambda: _moving("jsd") - _frozen("jsd"),
        lambda: _score_of(POP / P / (2 * (1 + POP / P))),
    ),
    Fact(
        "S16",
        "f-divergences at their best critics",
        "E_pop[T] - E_p[f*(T)] at T = f'(pop / p): KL, reverse KL, chi^2, squared Hellinger",
        ADVERSARIAL,
        lambda: [_value(kind) for kind in POWERS],
        lambda: [
            entropy(POP, P),
            entropy(P, POP),
            (POP**2 / P).sum() - 1,
            ((np.sqrt(POP) - np.sqrt(P)) ** 2).sum(),
        ],
    ),
    Fact(
        "S16",
        "gradients of f-divergences with frozen critics",
        "d/dtheta E_p[-f*(T)] at T = f'(pop / p), held fixed, = d/dtheta D(pop, p)",
        ADVERSARIAL,
        lambda: [_frozen(kind) for kind in POWERS],
        lambda: [_by_theta(DISTANCE[kind]) for kind in POWERS],
    ),
    Fact(
        "S16",
        "gradients of f-divergences with moving critics",
        "-E_p[f*(T)] with T following theta: 0, 1, -1 and 1/2 times the right gradient",
        ADVERSARIAL,
        lambda: [_moving(kind) for kind in POWERS],
        lambda: [
            share * _frozen(kind) for share, kind in zip((0, 1, -1, 0.5), POWERS, strict=True)
        ],
    ),
    Fact(
        "S16",
        "W1 three ways",
        "E_pop[T] - E_p[T] at the potential of a flow = cheapest joint law, = best 1-Lipschitz T",
        ADVERSARIAL,
        lambda: [_value("wasserstein")] * 2,
        lambda: [_coupled(P), _dual()],
    ),
    Fact(
        "S16",
        "W1 on a line",
        "the cheapest flow costs the integral of |F_pop - F_p|",
        ADVERSARIAL,
        lambda: transport(POP, P, np.abs(LINE[:, None] - LINE)).distance,
        lambda: wasserstein_distance(LINE, LINE, POP, P),
    ),
    Fact(
        "S16",
        "the gradient of W1 with a frozen critic",
        "d/dtheta E_p[-T] at the potential, held fixed, = d/dtheta W1(pop, p)",
        ADVERSARIAL,
        lambda: _frozen("wasserstein"),
        _differences,
        bound=1e-8,
    ),
)
