"""The generator's objective: six divergences, their critics, and what a critic that moves does.

The independent side is numpy: outcomes by itertools, divergences from scipy, transport problems
written as couplings. Only the seeded numbers (population, point, places) are read from the stream.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.optimize import linprog, minimize_scalar
from scipy.spatial.distance import cdist, jensenshannon

from benchbed.catalogue import build_estimator, build_objective
from benchbed.enumeration import marginalize
from benchbed.errors import BadArgument
from benchbed.families import CATEGORICAL
from benchbed.measurement.exact_moments import exact_moments
from benchbed.objectives._divergences import DIVERGENCES
from benchbed.objectives._optimal_transport import transport
from benchbed.rng import Noise

KINDS = [*DIVERGENCES, "wasserstein"]
EVERY = pytest.mark.parametrize("kind", KINDS)
SMOOTH = pytest.mark.parametrize("kind", list(DIVERGENCES))
SHAPES = pytest.mark.parametrize("shape", [(1, 6), (2, 3), (3, 2)], ids=str)
# f(u) and f''(u), for D = sum p f(pop / p).
GENERATORS = {
    "kl": (lambda u: u * np.log(u), lambda u: 1 / u),
    "reverse_kl": (lambda u: -np.log(u), lambda u: 1 / u**2),
    "pearson": (lambda u: (u - 1) ** 2, lambda u: 2 + 0 * u),
    "squared_hellinger": (lambda u: (np.sqrt(u) - 1) ** 2, lambda u: 0.5 * u**-1.5),
    "jsd": (
        lambda u: 0.5 * (u * np.log(u) - (u + 1) * np.log((u + 1) / 2)),
        lambda u: 0.5 / (u * (u + 1)),
    ),
}


def built(kind: str, shape: tuple[int, int] = (1, 6), **settings):
    dimensions, states = shape
    return build_objective(
        "adversarial", divergence=kind, dimensions=dimensions, categories=states, **settings
    )


class World:
    """The same seeded problem, written again: outcomes in the order of their numbers."""

    def __init__(self, shape: tuple[int, int], seed: int = 0) -> None:
        dimensions, states = shape
        noise = Noise(seed, "adversarial", dtype=torch.float64)
        # The first variable runs fastest.
        self.outcomes = [x[::-1] for x in itertools.product(range(states), repeat=dimensions)]
        logits = noise.child("population").normal(len(self.outcomes)).numpy()
        self.pop = np.exp(logits) / np.exp(logits).sum()
        places = noise.child("points").normal(states, 2).numpy()
        rows = np.array([np.concatenate([places[k] for k in x]) for x in self.outcomes])
        self.metric = cdist(rows, rows)

    def law(self, params: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return p and d log p / d logits of every outcome."""
        theta = params.numpy()
        pi = np.exp(theta) / np.exp(theta).sum(1, keepdims=True)
        hot = np.zeros((len(self.outcomes), *theta.shape))
        for n, x in enumerate(self.outcomes):
            hot[n, range(len(x)), x] = 1
        p = np.array([math.prod(pi[i, k] for i, k in enumerate(x)) for x in self.outcomes])
        return p, hot - pi

    def divergence(self, kind: str, params: torch.Tensor) -> float:
        """Return D(pop, p) with scipy's own functions where it has them."""
        p, _ = self.law(params)
        if kind == "wasserstein":
            return self.coupling(p)
        return {
            "kl": lambda: stats.entropy(self.pop, p),
            "reverse_kl": lambda: stats.entropy(p, self.pop),
            "pearson": lambda: ((self.pop - p) ** 2 / p).sum(),
            "squared_hellinger": lambda: ((self.pop**0.5 - p**0.5) ** 2).sum(),
            "jsd": lambda: jensenshannon(self.pop, p) ** 2,
        }[kind]()

    def gradient(self, kind: str, params: torch.Tensor) -> np.ndarray:
        """Return dD/dlogits: sum over x of dD/dp(x) p(x) d log p(x), D's own derivative in p."""
        p, score = self.law(params)
        if kind == "wasserstein":
            return np.einsum("n,nij->ij", p, -self.best_potential(p)[:, None, None] * score)
        u = self.pop / p
        by_p = {
            "kl": -u,
            "reverse_kl": np.log(p / self.pop) + 1,
            "pearson": 1 - u**2,
            "squared_hellinger": 1 - u**0.5,
            "jsd": 0.5 * np.log(2 * p / (p + self.pop)),
        }[kind]
        return np.einsum("n,n,nij->ij", p, by_p, score)

    def coupling(self, p: np.ndarray) -> float:
        """W1 as the cheapest joint law with the two marginals, by an interior-point method."""
        n = len(p)
        rows = np.kron(np.eye(n), np.ones(n))
        columns = np.kron(np.ones(n), np.eye(n))
        # The marginals' sums agree: one balance is left out.
        sides = np.concatenate((self.pop, p))[:-1]
        balance = np.concatenate((rows, columns))[:-1]
        return linprog(self.metric.ravel(), A_eq=balance, b_eq=sides, method="highs-ipm").fun

    def best_potential(self, p: np.ndarray) -> np.ndarray:
        """The dual itself: maximize (pop - p) T over 1-Lipschitz T with T_0 = 0."""
        n = len(p)
        rows, limits = [], []
        for i, j in itertools.permutations(range(n), 2):
            row = np.zeros(n)
            row[i], row[j] = 1, -1
            rows.append(row)
            limits.append(self.metric[i, j])
        bounds = [(0, 0)] + [(None, None)] * (n - 1)
        found = linprog(-(self.pop - p), A_ub=np.array(rows), b_ub=limits, bounds=bounds)
        return found.x


def off_the_point(objective) -> torch.Tensor:
    noise = Noise(62, "adversarial", dtype=torch.float64)
    return objective.params + 0.5 * noise.normal(*objective.params.shape)


def gap(found, expected) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@SHAPES
@EVERY
class TestTheBestCritic:
    def test_value_and_gradient_are_those_of_the_divergence(self, kind, shape):
        objective, world = built(kind, shape, seed=3), World(shape, seed=3)
        expected = world.divergence(kind, objective.params)
        assert float(objective.exact_value()) == pytest.approx(expected, rel=1e-9)
        found, slope = objective.exact_gradient().numpy(), world.gradient(kind, objective.params)
        assert gap(found, slope) < 1e-9
        for other in KINDS:  # every other divergence, and KL the wrong way round, is seen
            if other != kind:
                assert gap(world.gradient(other, objective.params), found) > 1e-2
                assert abs(world.divergence(other, objective.params) - expected) > 1e-4 * expected

    def test_gradient_by_central_differences_of_the_divergence(self, kind, shape):
        objective, world = built(kind, shape, seed=3), World(shape, seed=3)
        found = objective.exact_gradient()
        for index in itertools.product(*map(range, found.shape)):
            move = torch.zeros_like(found)
            move[index] = 1e-5
            high, low = (world.divergence(kind, objective.params + s * move) for s in (1, -1))
            assert abs((high - low) / 2e-5 - float(found[index])) < 1e-8 * float(found.abs().max())

    def test_elsewhere_it_is_a_bound_from_below_with_another_gradient(self, kind, shape):
        objective, world = built(kind, shape, seed=3), World(shape, seed=3)
        elsewhere = off_the_point(objective)
        bound, above = float(objective.exact_value(elsewhere)), world.divergence(kind, elsewhere)
        assert bound < above - 1e-4
        value, gradient = marginalize(objective, elsewhere)
        assert float(value) == pytest.approx(bound, rel=1e-12)
        assert gap(objective.exact_gradient(elsewhere).numpy(), gradient.numpy()) < 1e-11
        assert gap(gradient.numpy(), world.gradient(kind, elsewhere)) > 1e-2


@SMOOTH
class TestTheTable:
    V = np.linspace(-1.5, 1.5, 7)

    def test_penalty_is_the_conjugate_of_the_generator(self, kind):
        """f*(t) = max over u of t u - f(u), found by a search."""
        generator, _ = GENERATORS[kind]
        row = DIVERGENCES[kind]
        for v in self.V:
            at = torch.tensor(v, dtype=torch.float64)
            t = float(row.critic(at))
            found = minimize_scalar(
                lambda s, t=t: generator(np.exp(s)) - t * np.exp(s), (-3, 3), tol=1e-14
            )
            assert float(row.penalty(at)) == pytest.approx(-found.fun, rel=1e-12, abs=1e-12)

    def test_best_is_the_derivative_of_the_generator(self, kind):
        generator, _ = GENERATORS[kind]
        row = DIVERGENCES[kind]
        for ratio in self.V:
            at = torch.tensor(ratio, dtype=torch.float64)
            high, low = (generator(np.exp(ratio) + step) for step in (1e-5, -1e-5))
            slope = (high - low) / 2e-5
            assert float(row.critic(row.best(at))) == pytest.approx(slope, rel=1e-8, abs=1e-9)

    def test_generator_gives_the_divergence(self, kind):
        """Which side is below matters: pearson has p there, its namesake neyman the population."""
        world, objective = World((1, 6)), built(kind)
        p, _ = world.law(objective.params)
        u = world.pop / p
        mean = float(p @ GENERATORS[kind][0](u))
        assert mean == pytest.approx(world.divergence(kind, objective.params), rel=1e-12)
        if kind == "pearson":
            assert abs(mean - float(((world.pop - p) ** 2 / world.pop).sum())) > 0.01


class TestAMovingCritic:
    """The critic inside the generator's cost follows params, as where nothing cuts the graph."""

    def moving(self, kind: str, shape=(2, 3), with_constant: bool = False):
        """Return the objective whose T is best at whatever params the cost is given."""
        objective, world = built(kind, shape, seed=3), World(shape, seed=3)
        row = DIVERGENCES[kind]
        pop = torch.from_numpy(world.pop)
        every = CATEGORICAL.enumerate(objective.params, torch.arange(len(pop)))
        level = float(objective.exact_value())

        def critic(params, z):
            log_pop = (z.flatten(-2) @ every.flatten(1).T == shape[0]).to(pop) @ pop.log()
            return row.best(log_pop - CATEGORICAL.log_prob(params, z))

        def cost(z, params):
            found = level - row.penalty(critic(params, z))
            if with_constant:
                lifted = params.unsqueeze(-3) if params.ndim > 2 else params
                found = found + row.critic(critic(lifted, every)) @ pop
            return found

        moved = replace(objective, cost=cost, direct=True, value=None, gradient=None)
        return objective, moved, world

    @SMOOTH
    def test_the_wrong_term(self, kind):
        """It is -E_pop[dT/dparams] = E_p[u^2 f''(u) d log p], to rounding."""
        objective, moved, world = self.moving(kind)
        right = objective.exact_gradient().numpy()
        found = exact_moments(moved, build_estimator("score_function")).mean.reshape(right.shape)
        p, score = world.law(objective.params)
        u = world.pop / p
        wrong = np.einsum("n,n,nij->ij", p, u**2 * GENERATORS[kind][1](u), score)
        assert np.abs(found - right - wrong).max() < 1e-12
        # Of the power divergences it is a multiple of the gradient itself.
        share = {"kl": -1.0, "reverse_kl": 0.0, "pearson": -2.0, "squared_hellinger": -0.5}
        if kind in share:
            assert np.abs(wrong - share[kind] * right).max() < 1e-12
        if kind != "reverse_kl":
            assert np.abs(found - right).max() > 0.4 * np.abs(right).max()

    @SMOOTH
    def test_with_its_own_constant_the_terms_cancel(self, kind):
        """The envelope theorem: E_pop[T] - E_p[f*(T)] does not feel a small change of T."""
        objective, moved, _ = self.moving(kind, with_constant=True)
        right = objective.exact_gradient().numpy()
        found = exact_moments(moved, build_estimator("score_function")).mean.reshape(right.shape)
        assert gap(found, right) < 1e-11

    def test_of_wasserstein_it_stays(self):
        """The best T of a transport problem does not move with a small step of p."""
        world, objective = World((2, 3), seed=3), built("wasserstein", (2, 3), seed=3)
        p, _ = world.law(objective.params)
        q, _ = world.law(objective.params + 1e-4 * off_the_point(objective))
        assert np.abs(p - q).max() > 1e-6
        there = transport(world.pop, q, world.metric).potential
        assert np.abs(transport(world.pop, p, world.metric).potential - there).max() < 1e-12


@EVERY
class TestANetworkCritic:
    def test_it_bounds_the_divergence_and_training_tightens_it(self, kind):
        world, best = World((2, 3)), built(kind, (2, 3))
        above = world.divergence(kind, best.params)
        values = []
        for steps in (0, 10, 100, 300):
            objective = built(kind, (2, 3), critic="network", critic_steps=steps, hidden=2)
            assert torch.equal(objective.params, best.params)
            values.append(float(objective.exact_value()))
        assert values == sorted(values)
        assert values[0] < 0.7 * above
        assert 0.5 * above < values[-1] < 0.9999 * above  # two units cannot reach it

    def test_its_gradient_is_exact_for_that_critic_and_not_the_divergence_s(self, kind):
        objective = built(kind, (2, 3), critic="network", critic_steps=3)
        for params in (objective.params, off_the_point(objective)):
            value, gradient = marginalize(objective, params)
            assert float(objective.exact_value(params)) == pytest.approx(float(value), rel=1e-12)
            assert gap(objective.exact_gradient(params).numpy(), gradient.numpy()) < 1e-11
        right = World((2, 3)).gradient(kind, objective.params)
        assert gap(objective.exact_gradient().numpy(), right) > 0.05

    def test_it_is_one_function_on_and_between_the_corners(self, kind):
        objective = built(kind, (2, 3), critic="network")
        z = objective.family.path(objective.params, 4, 2, 0.8, Noise(5, dtype=torch.float64)).soft
        bent = objective.cost(z, objective.params)
        table = built(kind, (2, 3))
        assert not torch.allclose(bent, table.cost(z, table.params))
        one = z.clone()
        one[..., 0, :] = z.flip(0)[..., 0, :]
        middle = objective.cost((z + one) / 2, objective.params)
        ends = (bent + objective.cost(one, objective.params)) / 2
        assert (middle - ends).abs().max() > 1e-4  # not affine in a variable


def test_a_network_critic_of_wasserstein_is_as_steep_as_allowed():
    """T = constant - J: its largest slope between two outcomes is 1."""
    world = World((2, 3))
    for steps in (0, 30):
        objective = built("wasserstein", (2, 3), critic="network", critic_steps=steps)
        every = CATEGORICAL.enumerate(objective.params, torch.arange(9))
        cost = objective.cost(every[:, None], objective.params)[:, 0].numpy()
        apart = np.abs(cost[:, None] - cost)[~np.eye(9, dtype=bool)]
        slopes = apart / world.metric[~np.eye(9, dtype=bool)]
        assert slopes.max() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("critic", ["optimal", "network"])
@EVERY
def test_estimators_marginalized(kind, critic):
    objective = built(kind, (2, 3), critic=critic, seed=2)
    expected = objective.exact_gradient().flatten().numpy()
    for name, settings in (
        ("score_function", {}),
        ("leave_one_out", {"samples": 2}),
        ("unordered_set", {"samples": 2}),
        ("local_expectation", {}),
    ):
        found = exact_moments(objective, build_estimator(name, **settings))
        assert gap(found.mean, expected) < 1e-11, name
        # The plain score function moves with a constant in J; a wrong one is seen.
        short = replace(objective, cost=lambda z, params: 1.001 * objective.cost(z, params))
        assert gap(exact_moments(short, build_estimator(name, **settings)).mean, expected) > 9e-4


def test_nce_at_the_best_discriminator():
    """2 JSD - log 4, a maximum over the discriminator and so a bound from below."""
    world, objective = World((1, 6)), built("jsd")
    p, _ = world.law(objective.params)
    d = world.pop / (world.pop + p)

    def nce(d):
        return float(world.pop @ np.log(d) + p @ np.log1p(-d))

    best = 2 * float(objective.exact_value()) - math.log(4)
    assert nce(d) == pytest.approx(best, rel=1e-13)
    rng = np.random.default_rng(4)
    others = [nce(1 / (1 + (1 / d - 1) * np.exp(0.3 * rng.normal(size=6)))) for _ in range(20)]
    assert max(others) < best


class TestTransport:
    LINE = np.array([0.0, 1.0, 10.0, 11.0])
    METRIC = np.abs(LINE[:, None] - LINE)

    def test_on_a_line_it_is_scipys(self):
        rng = np.random.default_rng(7)
        for size in (2, 5, 12):
            places, pop, p = rng.normal(size=size), *rng.dirichlet(np.ones(size), 2)
            found = transport(pop, p, np.abs(places[:, None] - places))
            expected = stats.wasserstein_distance(places, places, pop, p)
            assert found.distance == pytest.approx(expected, rel=1e-12)
            assert (pop - p) @ found.potential == pytest.approx(expected, rel=1e-12)
            assert found.play < 1e-12

    @pytest.mark.parametrize("step", [1e-3, 1e-9])
    def test_however_little_moves(self, step):
        rng = np.random.default_rng(8)
        places, pop = rng.normal(size=6), rng.dirichlet(np.ones(6))
        p = pop + step * (rng.dirichlet(np.ones(6)) - pop)
        found = transport(pop, p, np.abs(places[:, None] - places))
        expected = (np.abs(np.cumsum((pop - p)[places.argsort()])[:-1])) @ np.diff(np.sort(places))
        assert found.distance == pytest.approx(expected, rel=1e-6)
        assert found.play < 1e-9

    def test_two_trades_far_apart_leave_their_levels_free(self):
        """T_10 - T_1 can be anything from -9 to 9: W1 has a kink there."""
        pop, p = np.array([0.3, 0.2, 0.3, 0.2]), np.array([0.2, 0.3, 0.2, 0.3])
        found = transport(pop, p, self.METRIC)
        assert found.distance == pytest.approx(0.2)
        assert found.play == pytest.approx(18)

    def test_a_point_on_the_way_is_held_and_one_beside_it_is_not(self):
        line = np.array([[0, 1, 2], [1, 0, 1], [2, 1, 0]], dtype=float)
        pop, p = np.array([0.6, 0.2, 0.2]), np.array([0.2, 0.2, 0.6])
        assert transport(pop, p, line).play < 1e-12
        line[0, 1] = line[1, 0] = 1.5
        assert transport(pop, p, line).play == pytest.approx(0.5)

    def test_nothing_to_move(self):
        found = transport(np.full(4, 0.25), np.full(4, 0.25), self.METRIC)
        assert (found.distance, found.play) == (0.0, 22.0)


@EVERY
def test_at_the_population(kind):
    """D and its gradient are 0, its cost has no spread; W1 has a kink and is refused."""
    if kind == "wasserstein":
        with pytest.raises(BadArgument, match=r"differ by up to .* use another seed or distance"):
            built(kind, distance=0.0)
        return
    objective = built(kind, distance=0.0)
    assert abs(float(objective.exact_value())) < 1e-14
    assert float(objective.exact_gradient().abs().max()) < 1e-15
    z = objective.family.sample(objective.params, 20, 1, Noise(6, dtype=torch.float64))
    assert float(objective.cost(z, objective.params).abs().max()) < 1e-14


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"divergence": "jds"}, "got 'jds', did you mean 'jsd'?"),
        ({"critic": "best"}, "critic: one of optimal, network, got 'best'"),
        ({"categories": 1}, "categories >= 2, got 1"),
        ({"dimensions": 0}, "dimensions >= 1, got 0"),
        ({"hidden": 0}, "hidden >= 1"),
        ({"critic_steps": -1}, "critic_steps >= 0"),
        ({"distance": -1.0}, "distance >= 0, got -1.0; 1 is the default"),
        ({"distance": math.nan}, "distance: a finite number"),
        ({"categories": 8, "dimensions": 5}, "32,768 are more than 4,096; use fewer categories"),
        ({"divergence": "wasserstein", "categories": 129}, "129 are more than 128"),
        ({"critic": "network", "hidden": 10**9}, "use fewer hidden units"),
        ({"categories": 10, "dimensions": 10**7}, "10^10,000,000 are more than 4,096"),
        ({"divergence": "kl", "distance": 1e3}, "beyond the numbers of float32 at this point"),
        ({"divergence": "pearson", "distance": 1e3}, "beyond the numbers of float32"),
        ({"divergence": "pearson", "distance": 30.0}, "such as a smaller distance"),
        ({"divergence": "squared_hellinger", "distance": 1e3}, "beyond the numbers of float32"),
        ({"divergence": "wasserstein", "distance": 0.0}, "no gradient at this point"),
    ],
)
def test_bad_settings_are_refused_in_one_line(settings, message):
    with pytest.raises(BadArgument) as caught:
        build_objective("adversarial", **settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_largest_metric_space_is_solved_in_time():
    objective = built("wasserstein", (7, 2))
    assert objective.exact_gradient().shape == (7, 2)
