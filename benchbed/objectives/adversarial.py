"""A generator against its critic: a divergence from a population, by the critic's bound.

Goodfellow et al. 2014, "Generative Adversarial Nets" (arXiv 1406.2661); Nowozin, Cseke and Tomioka
2016 (arXiv 1606.00709) for f-divergences; Arjovsky, Chintala and Bottou 2017, "Wasserstein GAN"
(arXiv 1701.07875). Stratos, "Useful Facts About Latent-Variable Generative Models", section 1,
calls it variational adversarial optimization. Rows S15 and S16 of benchbed.facts.coverage.

    D(pop, p) = max over T of E_pop[T] - E_p[f*(T)],   J(z) = E_pop[T] - f*(T(z)),  T FROZEN.

The critic T is a constant of this objective, the best one at its own point (critic: optimal) or a
network (critic: network). By the envelope theorem the gradient of E[J] at the point is then that of
D itself. Letting T follow params inside J's -f*(T(z)) alone, as an autograd graph does that is not
cut, adds the direct term -E_pop[dT/dparams]: for kl it cancels the whole gradient, for pearson it
turns its sign, for squared_hellinger it halves it (for reverse_kl and W1 it is 0).

The bound is a LOWER bound of D, maximized over T; the note calls it an upper one.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from benchbed.arguments import at_least, finite_number
from benchbed.contracts import Objective
from benchbed.errors import BadArgument, nearest
from benchbed.families import CATEGORICAL
from benchbed.objectives._affordable import affordable
from benchbed.objectives._critic_network import critic_network
from benchbed.objectives._divergences import DIVERGENCES, Divergence
from benchbed.objectives._extension import MOST_CORNERS, multilinear
from benchbed.objectives._in_range import in_range
from benchbed.objectives._listable import count_states
from benchbed.objectives._optimal_transport import transport
from benchbed.objectives._points import gradient_of
from benchbed.rng import Noise

Kind = Literal["jsd", "kl", "reverse_kl", "pearson", "squared_hellinger", "wasserstein"]
Critic = Literal["optimal", "network"]
COORDINATES = 2  # of the point that stands for one value of one variable
MOST_POINTS = 128  # of a metric space: a second of linear programming
CITATION = "Goodfellow et al. 2014; Nowozin et al. 2016; Arjovsky et al. 2017"


def adversarial(
    divergence: Kind = "jsd",
    critic: Critic = "optimal",
    categories: int = 6,
    dimensions: int = 1,
    distance: float = 1.0,
    hidden: int = 8,
    critic_steps: int = 0,
    seed: int = 0,
) -> Objective:
    """Cost E_pop T - f*(T(z)) of a frozen critic T, whose mean is a divergence or a bound below it.

    In nats (jsd, kl, reverse_kl), without a unit (pearson, squared_hellinger) or in units of the
    points' distances (wasserstein); to be lowered by the generator.

    Args:
        divergence: D of a population from p, both over categories^dimensions outcomes: ``jsd``;
            ``kl``, KL(pop||p); ``reverse_kl``, KL(p||pop); ``pearson``, chi^2 with p below;
            ``squared_hellinger``, without a factor 1/2; ``wasserstein``, W1 where a value of a
            variable is a seeded point of the plane and outcomes are as far apart as their points,
            put side by side.
        critic: ``optimal``, the best at the point, multilinear between the corners; or ``network``,
            a tanh network of the points, defined between the corners by itself: E[J] is below D,
            and for wasserstein it is divided by its Lipschitz constant on the outcomes.
        categories: values of one variable, 2 or more.
        dimensions: independent variables of p; the population has all their interactions.
        distance: of p from the product of the population's marginals: logits move by it times
            seeded normal numbers. At 0 with one variable p is the population: D and its gradient
            are 0, and W1 has none.
        hidden: units of a network critic.
        critic_steps: of Adam on the exact bound before a network critic is frozen; 0 is the start.
        seed: of the population, the point, the metric space and the network.
    """
    _check(divergence, critic)
    at_least("adversarial", "categories", categories, 2)
    at_least("adversarial", "dimensions", dimensions, 1)
    at_least("adversarial", "hidden", hidden, 1)
    at_least("adversarial", "critic_steps", critic_steps, 0)
    at_least("adversarial", "seed", seed, 0)
    if finite_number("adversarial", "distance", distance) < 0:
        raise BadArgument(f"adversarial needs a distance >= 0, got {distance}; 1 is the default")
    most = MOST_POINTS if divergence == "wasserstein" else MOST_CORNERS
    name, what = f"adversarial with {divergence}", "holds categories^dimensions outcomes"
    count_states(name, what, categories, dimensions, "categories or dimensions", most)
    affordable("adversarial", hidden * COORDINATES * dimensions, "use fewer hidden units")
    noise = Noise(seed, "adversarial", dtype=torch.float64)
    space = seeded_space(categories, dimensions, noise)
    params = space.closest + distance * noise.child("point").normal(dimensions, categories)
    if critic == "optimal":
        table = _best_costs(divergence, space, params)
        cost_of_z = multilinear(table, CATEGORICAL)
    else:
        sides = (space.pop, CATEGORICAL.log_prob(params, space.every).exp())
        cost_of_z = critic_network(
            lambda v: _bound(divergence, space, v),
            *(sides, space.every, space.points, hidden, critic_steps, noise.child("critic")),
        )
        table = cost_of_z(space.every[:, None])[:, 0]
    at_corners = multilinear(table, CATEGORICAL)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return cost_of_z(z)

    def value(params: Tensor) -> Tensor:
        """Return the mean of a function that is affine in each of the independent variables."""
        return at_corners(CATEGORICAL.mean(params)[None, None])[0, 0]

    found = Objective(
        "adversarial",
        CATEGORICAL,
        params.contiguous(),
        cost,
        value,
        gradient_of(value),
        citation=CITATION,
    )
    return in_range(found, table)


class Space(NamedTuple):
    """What both sides share: outcomes in the order of ``CATEGORICAL.enumerate``."""

    pop: Tensor  # the population, [outcomes]
    closest: Tensor  # log of its marginals, [d, K]
    every: Tensor  # one-hots, [outcomes, d, K]
    points: Tensor  # of the values of one variable, [K, COORDINATES]

    def metric(self) -> Tensor:
        """Return the distances between outcomes, [outcomes, outcomes]."""
        places = (self.every @ self.points).flatten(1)
        return torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist")


def seeded_space(categories: int, dimensions: int, noise: Noise) -> Space:
    """Return a population with all interactions, and a place for every value of a variable."""
    zero = torch.zeros(dimensions, categories, dtype=torch.float64)
    assert CATEGORICAL.enumerate is not None
    every = CATEGORICAL.enumerate(zero, torch.arange(categories**dimensions))
    pop = noise.child("population").normal(len(every)).softmax(0)
    points = noise.child("points").normal(categories, COORDINATES).contiguous()
    return Space(pop, torch.einsum("n,ndk->dk", pop, every).log(), every, points)


def _best_costs(kind: Kind, space: Space, params: Tensor) -> Tensor:
    """Return E_pop[T] - f*(T) of the best critic at ``params``, for every outcome."""
    log_p = CATEGORICAL.log_prob(params, space.every)
    if kind == "wasserstein":
        pop, p = (x.numpy() for x in (space.pop, log_p.softmax(0)))
        found = transport(pop, p, space.metric().numpy())
        if found.play > 1e-9 * float(space.metric().max()):
            raise BadArgument(
                f"adversarial with wasserstein has no gradient at this point: best critics differ "
                f"by up to {found.play:.3g} beyond a constant; use another seed or distance"
            )
        best = torch.from_numpy(found.potential)
        return space.pop @ best - best
    bound = DIVERGENCES[kind]
    best = bound.best(space.pop.log() - log_p)
    return space.pop @ bound.critic(best) - bound.penalty(best)


def _bound(kind: Kind, space: Space, v: Tensor) -> Divergence:
    """Return the bound for a network with ``v`` at the outcomes: W1's T is v by its steepness."""
    if kind != "wasserstein":
        return DIVERGENCES[kind]
    apart = space.metric() + torch.eye(len(v), dtype=torch.float64)
    steepness = ((v[:, None] - v).abs() / apart).max()
    return Divergence(lambda v: v / steepness, lambda v: v / steepness, lambda v: v)


def _check(divergence: str, critic: str) -> None:
    for what, given, known in (
        ("divergence", divergence, get_args(Kind)),
        ("critic", critic, get_args(Critic)),
    ):
        if given not in known:
            raise BadArgument(
                f"adversarial needs {what}: one of {', '.join(known)}, got '{given}'"
                f"{nearest(str(given), known)}"
            )
