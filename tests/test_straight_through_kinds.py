"""Straight-through and its kin: golden numbers, exactness classes, oracles, and their own means."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import reinmax as reinmax_package
import torch
from bias_cases import SEED
from panel import blocks_of, fresh_blocks, objective
from scipy import integrate, optimize, stats
from torch import Tensor

from benchbed.analysis.intervals import log_jackknife
from benchbed.analysis.verdict import SHRINK, judge
from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Estimator, Objective
from benchbed.errors import BadArgument
from benchbed.families import BERNOULLI, CATEGORICAL
from benchbed.families.categorical import softmax_vjp
from benchbed.measurement.exact_moments import exact_moments
from benchbed.rng import Noise

FALSE_ALARM = 1e-4  # of one Monte-Carlo comparison below, over all its entries together

SAMPLED = {
    "straight_through": {},
    "straight_through identity": {"derivative": "identity"},
    "reinmax": {},
    "darn": {},
    "gumbel_softmax": {},
    "straight_through_gumbel_softmax": {},
    "gumbel_rao": {},
    "reinmax_rao": {},
    "gapped_straight_through": {},
    "gapped_straight_through p": {"gap": "p"},
    "decoupled_straight_through": {},
    "invertible_gaussian": {},
}


def made(name: str, **settings: object) -> Estimator:
    """Build an estimator named in SAMPLED, or in the catalogue."""
    return build_estimator(name.split()[0], **SAMPLED.get(name, {}) | settings)


def noise(*path: str | int) -> Noise:
    return Noise(41, *path, dtype=torch.float64)


def slopes_at(problem: Objective, z: Tensor) -> Tensor:
    """Return dJ/dz at every row of z [n, *event]."""
    slope = problem.evaluate(z[:, None], problem.params, slope=True).slope
    assert slope is not None
    return slope[:, 0]


def states_of(problem: Objective) -> tuple[Tensor, Tensor]:
    """Return every z [n, *event] and its probability [n]."""
    family, params = problem.family, problem.params
    z = family.enumerate(params, torch.arange(family.states(params)))
    return z, family.log_prob(params, z).exp()


def mean_of(problem: Objective, method: Estimator) -> np.ndarray:
    found = exact_moments(problem, method)
    assert found is not None
    return found.mean.reshape(problem.params.shape)


# --- Golden numbers ------------------------------------------------------------------------------


def test_identity_has_its_golden_bias_and_variance():
    problem = objective("golden_bits")
    found = exact_moments(problem, made("straight_through", derivative="identity"))
    bias = np.abs(found.mean - problem.exact_gradient().numpy()).max()
    assert (f"{bias:.2f}", f"{found.variance.sum():.2f}") == ("3.26", "5.16")


@pytest.mark.parametrize(("exponent", "printed"), [(1.5, "0.4749"), (2, "0.4500"), (3, "0.4010")])
def test_straight_through_stops_at_its_known_wrong_fixed_point(exponent, printed):
    """On ReinMax's polynomial toy the mean vanishes at another p than 0, where E[J] is least."""
    problem = build_objective("polynomial", dimensions=1, categories=2, exponent=exponent)

    def mean_at(logit: float) -> float:
        moved = replace(problem, params=torch.tensor([[0.0, logit]], dtype=torch.float64))
        return float(mean_of(moved, made("straight_through"))[0, 1])

    logit = optimize.brentq(mean_at, -2, 2, xtol=1e-14)
    assert f"{1 / (1 + math.exp(-logit)):.4f}" == printed


# Of 3 bits with a linear J: largest |bias| of a coordinate.
@pytest.mark.parametrize(("temperature", "printed"), [(0.5, "0.023"), (1.0, "0.063")])
def test_gumbel_softmax_is_biased_for_a_linear_cost(temperature, printed):
    problem = linear_bits()
    mean = np.array([
        slope * sum(half_lines(float(logit), temperature))
        for slope, logit in zip((0.7, -0.4, 1.1), problem.params, strict=True)
    ])  # fmt: skip
    bias = np.abs(mean - problem.exact_gradient().numpy()).max()
    assert f"{bias:.3f}" == printed
    method = made("gumbel_softmax", temperature=temperature)
    assert outcome(problem, method) == "biased"
    own = replace(problem, gradient=lambda _: torch.from_numpy(mean))
    assert outcome(own, method) == "unbiased"


def linear_bits() -> Objective:
    """Return the linear part of golden_bits, at its point."""
    weights = torch.tensor([0.7, -0.4, 1.1], dtype=torch.float64)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return (z * weights.to(z)).sum(-1)

    return Objective("linear bits", BERNOULLI, objective("golden_bits").params, cost)


# --- Exactness classes -------------------------------------------------------------------------


def block_quadratic(family: str) -> Objective:
    """Return <a, z> + z^T Q z with a full Q: quadratic in each variable, any cross terms."""
    draw = noise("quadratic", family)
    shape = (4,) if family == "bernoulli" else (3, 3)
    size = math.prod(shape)
    linear, form = draw.normal(size), draw.normal(size, size)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        flat = z.flatten(-len(shape))
        return flat @ linear.to(z) + ((flat @ form.to(z)) * flat).sum(-1)

    law = BERNOULLI if family == "bernoulli" else CATEGORICAL
    return Objective(f"quadratic {family}", law, draw.normal(*shape), cost)


@pytest.mark.parametrize(
    ("name", "settings", "multilinear", "quadratic"),
    [
        ("straight_through", {}, True, False),
        ("straight_through", {"temperature": 0.8}, False, False),
        ("straight_through", {"derivative": "identity"}, False, False),
        ("straight_through", {"derivative": "clipped"}, False, False),
        ("darn", {}, True, False),
        ("reinmax", {}, True, True),
        ("reinmax", {"temperature": 1.5}, False, False),
        ("gapped_straight_through", {}, False, False),
        ("gapped_straight_through", {"gap": "p"}, False, False),
        # Against the law that it samples from.
        ("decoupled_straight_through", {"backward_temperature": 0.5}, True, False),
        ("decoupled_straight_through", {}, False, False),
        ("step_straight_through", {}, False, False),
        ("snap_straight_through", {}, False, False),
    ],
)
def test_where_each_is_exact(name, settings, multilinear, quadratic):
    method = made(name, **settings)
    cases = {
        "bernoulli": (objective("golden_bits multilinear"), block_quadratic("bernoulli")),
        "categorical": (objective("table"), block_quadratic("categorical")),
    }
    for family in sorted(method.families & set(cases)):
        for problem, exact in zip(cases[family], (multilinear, quadratic), strict=True):
            truth = method.exact_gradient(problem).numpy()
            error = np.abs(mean_of(problem, method) - truth).max() / np.abs(truth).max()
            assert (error < 1e-12) == exact, (family, problem.name, error)
            assert exact or error > 1e-3


PROBLEMS = [
    "golden_bits",
    "coupled",
    "smooth",
    "polynomial",
    "digits_vae",
    "digits_vae categorical",
]


@pytest.mark.parametrize("where", PROBLEMS)
def test_reinmax_is_half_the_sum_of_straight_through_and_darn_sample_by_sample(where):
    problem = objective(where)
    rows = {
        name: build_estimator(name, samples=2).draw(problem, problem.params, 64, noise("half"))
        for name in ("reinmax", "straight_through", "darn")
    }
    torch.testing.assert_close(
        rows["reinmax"], (rows["straight_through"] + rows["darn"]) / 2, rtol=1e-10, atol=1e-13
    )


def half_lines(logit: float, temperature: float, power: int = 1) -> tuple[float, float]:
    """Return E[1[b = 0] r^power] and E[1[b = 1] r^power], r = y (1 - y) / temperature.

    y is the binary Concrete sample of ``logit`` and b its hard sample. The integral is over
    t = (logit + logistic noise) / temperature, so that it is as smooth at any temperature.
    """

    def integrand(t: float) -> float:
        x = abs(t * temperature - logit)  # the logistic density is even
        density = math.exp(-x) / (1 + math.exp(-x)) ** 2
        rate = math.exp(-abs(t)) / (1 + math.exp(-abs(t))) ** 2 / temperature
        return temperature * density * rate**power

    def part(*ends: float) -> float:
        return sum(
            integrate.quad(integrand, a, b, epsabs=0, epsrel=1e-13)[0]
            for a, b in itertools.pairwise(ends)
        )

    return part(-60, -8, 0), part(0, 8, 60)


def concrete_mean(problem: Objective, temperature: float) -> np.ndarray:
    """Return the mean of straight-through Gumbel-Softmax on bits, by quadrature."""
    z, q = states_of(problem)
    slopes = slopes_at(problem, z)
    p = problem.params.sigmoid()
    rows = [half_lines(float(x), temperature) for x in problem.params]
    parts = torch.tensor(rows, dtype=torch.float64)
    given = torch.where(z > 0, parts[:, 1] / p, parts[:, 0] / (1 - p))  # E[r_i | b_i]
    return (q[:, None] * slopes * given).sum(0).numpy()


def test_straight_through_gumbel_softmax_tends_to_reinmax_linearly_in_the_temperature():
    """By t log 2 v (2 p - 1) E[J'(1) - J'(0)]; and NOT to the exact gradient."""
    problem = objective("golden_bits")
    z, q = states_of(problem)
    slopes, p = slopes_at(problem, z), problem.params.sigmoid()
    sign = torch.where(z > 0, 1 / p, -1 / (1 - p))
    jump = (q[:, None] * slopes * sign).sum(0)
    rate = (math.log(2) * p * (1 - p) * (2 * p - 1) * jump).numpy()
    limit = mean_of(problem, made("reinmax"))
    errors = []
    for temperature in (0.5, 0.1, 0.02, 0.005):
        gap = concrete_mean(problem, temperature) - limit
        errors.append(np.abs(gap).max())
        print(f"temperature {temperature}: {errors[-1]:.3g}, {errors[-1] / temperature:.3g} x t")
    assert errors == sorted(errors, reverse=True)
    small = 1e-4  # where the next order, t^2, is out of sight
    gap = concrete_mean(problem, small) - limit
    np.testing.assert_allclose(gap / small, rate, rtol=2e-3)
    assert np.abs(limit - problem.exact_gradient().numpy()).max() > 5 * errors[-1]


# --- The same mean as straight-through Gumbel-Softmax, and no more variance ---------------------


def conditional_jacobians(logits: Tensor, temperature: float, share: float) -> Tensor:
    """Return E[Jac(y) | k] / temperature for each k of one variable of 3 categories, [k, 3, 3].

    y depends on ratios of three exponentials alone, which are uniform on the simplex.
    """
    nodes, weights = np.polynomial.legendre.leggauss(160)
    nodes, weights = (nodes + 1) / 2, weights / 2
    t, b = np.meshgrid(nodes, nodes, indexing="ij")
    weight = (2 * t * weights[:, None] * weights).ravel()  # of 1 - x_k = t, density 2 t
    pi = logits.softmax(-1).numpy()
    found = np.empty((3, 3, 3))
    for k in range(3):
        i, j = (c for c in range(3) if c != k)
        x = np.empty((3, t.size))
        x[k], x[i], x[j] = (1 - t).ravel(), (t * b).ravel(), (t * (1 - b)).ravel()
        largest = x[k] / (x / (share * pi[:, None]) + x[k])
        largest[k] = 1
        y = largest ** (1 / temperature)
        y /= y.sum(0)
        outer = np.einsum("an,bn,n->ab", y, y, weight)
        found[k] = (np.diag(y @ weight) - outer) / temperature
    return torch.from_numpy(found)


def relaxed_mean(problem: Objective, temperature: float, share: float = 1.0) -> Tensor:
    """Return E[E[Jac(y) | z] J'(z)] / temperature, without sampling, for bits or 3 categories."""
    z, q = states_of(problem)
    slopes = slopes_at(problem, z)
    if problem.family is BERNOULLI:
        given = torch.empty_like(z)
        for i, logit in enumerate(problem.params.tolist()):
            for b in (0, 1):
                p = 1 / (1 + math.exp(-logit))
                other = share * (1 - p if b else p)  # of the relaxed sample's own logit
                moved = math.log((1 - other) / other) * (1 if b else -1)
                given[z[:, i] == b, i] = half_lines(moved, temperature)[b] / (1 - other)
        return (q[:, None] * slopes * given).sum(0)
    tables = torch.stack(
        [conditional_jacobians(row, temperature, share) for row in problem.params]
    )  # [d, k, 3, 3]
    return torch.einsum("n,ndk,dkab,ndb->da", q, z, tables, slopes)


SMALL = {
    "golden_bits": {"name": "golden_bits"},
    "coupled": {"name": "coupled", "dimensions": 4},
    "smooth": {"name": "smooth", "dimensions": 2, "categories": 3},
    "polynomial": {"name": "polynomial", "dimensions": 2, "categories": 3, "exponent": 3},
}


def outcome(problem: Objective, method: Estimator, draws: int = 131_072) -> str:
    cells = {"cell": blocks_of(problem, method, draws, SEED)}
    return judge(cells, lambda _: fresh_blocks(problem, method, draws // 4, SEED))["cell"].outcome


@pytest.mark.parametrize("temperature", [0.3, 1.0])
@pytest.mark.parametrize("name", ["gumbel_rao", "straight_through_gumbel_softmax"])
def test_gumbel_rao_has_the_mean_of_straight_through_gumbel_softmax(name, temperature):
    """Both against the mean found by quadrature, on all objectives at once."""
    settings = {"replicates": 3} if name == "gumbel_rao" else {}
    method = made(name, temperature=temperature, **settings)
    verdicts = judged_by_quadrature(method, lambda problem: relaxed_mean(problem, temperature))
    assert set(verdicts.values()) == {"unbiased"}


def judged_by_quadrature(method: Estimator, mean) -> dict[str, str]:
    cases = {}
    for where, settings in SMALL.items():
        problem = build_objective(**settings)
        own = mean(problem)
        cases[where] = replace(problem, gradient=lambda _, own=own: own)
    verdicts = judge(
        {where: blocks_of(problem, method, 131_072, SEED) for where, problem in cases.items()},
        lambda where: fresh_blocks(cases[where], method, 131_072, SEED),
    )
    for where, verdict in verdicts.items():
        print(f"{method.name} on {where}: {verdict.one_line()}")
    return {where: verdict.outcome for where, verdict in verdicts.items()}


@pytest.mark.parametrize("where", ["golden_bits", "smooth"])
def test_gumbel_rao_with_undetached_noise_is_caught(where, monkeypatch):
    """Differentiating through the conditional noise too, as the paper's wording has it."""
    problem = build_objective(**SMALL[where])
    own = relaxed_mean(problem, 0.5)
    problem = replace(problem, gradient=lambda _: own)

    def undetached(family, params, hard, slope, temperature, replicates, noise):
        total = torch.zeros_like(slope)
        for _ in range(replicates):
            path = family.conditional_path(params, hard, temperature, noise)
            total += path.vjp(slope)
        return total / replicates

    assert outcome(problem, made("gumbel_rao", replicates=2)) == "unbiased"
    monkeypatch.setattr("benchbed.estimators.gumbel_rao.averaged_vjp", undetached)
    assert outcome(problem, made("gumbel_rao", replicates=2)) == "biased"


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
def test_gumbel_rao_has_no_more_variance_and_its_law(temperature):
    """E[Var(g | z)] / replicates + Var(E[g | z]); one replicate is straight-through Gumbel's."""
    problem = objective("golden_bits")
    z, q = states_of(problem)
    slopes, p = slopes_at(problem, z), problem.params.sigmoid()
    first, second = (
        torch.tensor(
            [half_lines(x, temperature, power) for x in problem.params.tolist()],
            dtype=torch.float64,
        )
        for power in (1, 2)
    )
    share = torch.stack((1 - p, p), 1)
    first, second = first / share, second / share  # moments of y (1 - y) / t given b
    pick = z.long()
    given = first.gather(1, pick.T).T * slopes
    spread = (second - first.square()).gather(1, pick.T).T * slopes.square()
    between = q @ given.square() - (q @ given).square()
    within = q @ spread
    variances = []
    for name, replicates in (
        ("straight_through_gumbel_softmax", 1),
        ("gumbel_rao", 1),
        ("gumbel_rao", 4),
        ("gumbel_rao", 30),
    ):
        variances.append(float((within / replicates + between).sum()))
        settings = {"replicates": replicates} if name == "gumbel_rao" else {}
        method = made(name, temperature=temperature, **settings)
        interval = variance_interval(problem, method, 65_536)
        assert interval.low <= variances[-1] <= interval.high, (name, replicates)
    assert variances[1] == variances[0]
    assert variances[0] > 1.2 * variances[2] > 1.2 * variances[3]
    assert variances[3] > float(between.sum())  # replicates cannot beat the second term


def variance_interval(problem: Objective, method: Estimator, draws: int):
    """Return the trace variance with an interval that misses with chance FALSE_ALARM."""
    blocks = blocks_of(problem, method, draws, seed=42)
    count, first, total = blocks.count.sum(), blocks.first.sum(0), blocks.distance[0].sum()
    rest = count - blocks.count
    spread = total - blocks.distance[0] - np.square(first - blocks.first).sum(-1) / rest
    value = (total - np.square(first).sum() / count) / (count - 1)
    return log_jackknife(float(value), spread / (rest - 1), level=1 - FALSE_ALARM)


# --- ReinMax-Rao and IGR against their own means ------------------------------------------------


def reinmax_rao_mean(problem: Objective, temperature: float, share: float = 0.5) -> Tensor:
    second = torch.from_numpy(mean_of(problem, made("straight_through")))  # E[Jac(pi) J']
    return 2 * relaxed_mean(problem, temperature, share) - 0.5 * second


def test_reinmax_rao_has_the_mean_that_quadrature_gives():
    method = made("reinmax_rao", replicates=2)
    verdicts = judged_by_quadrature(method, lambda problem: reinmax_rao_mean(problem, 0.7))
    assert set(verdicts.values()) == {"unbiased"}


@pytest.mark.parametrize("where", ["golden_bits", "smooth"])
def test_reinmax_rao_at_the_wrong_logits_is_caught(where):
    """Relaxing at logits phi instead of log((pi + z) / 2): a slip reported of equation 17."""
    problem = build_objective(**SMALL[where])
    wrong = reinmax_rao_mean(problem, 0.7, share=1.0)
    problem = replace(problem, gradient=lambda _: wrong)
    assert outcome(problem, made("reinmax_rao", replicates=2)) == "biased"


def test_reinmax_rao_is_biased_for_a_linear_cost_where_reinmax_is_exact():
    problem = linear_bits()
    truth = problem.exact_gradient()
    assert float((reinmax_rao_mean(problem, 0.7) - truth).abs().max()) > 0.01
    np.testing.assert_allclose(mean_of(problem, made("reinmax")), truth, rtol=1e-12)


def gaussian_mean(problem: Objective, temperature: float, scale: float, delta: float) -> Tensor:
    """Return d E[J(y)] / d logits by differentiating a Gauss-Hermite sum, all variables at once."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    bits = problem.family is BERNOULLI
    logits = problem.params.clone().requires_grad_()
    place = logits[:, None] if bits else logits[:, :-1] - logits[:, -1:]
    size = place.numel()
    grid = [np.array(list(itertools.product(x, repeat=size))) for x in (nodes, weights)]
    eps = torch.from_numpy(grid[0]).reshape(-1, *place.shape)
    weight = torch.from_numpy(grid[1]).prod(-1)
    weight = weight / weight.sum()
    lifted = (place + scale * eps) / temperature
    total = lifted.exp().sum(-1, keepdim=True) + delta
    y = lifted.exp() / total
    z = y[..., 0] if bits else torch.cat((y, delta / total), -1)
    return torch.autograd.grad(weight @ problem.cost(z, problem.params), logits)[0]


IGR = {
    "golden_bits": {"name": "golden_bits"},  # 3 normals
    "two categories": {"name": "smooth", "dimensions": 2, "categories": 2},  # 2 normals
    "three categories": {"name": "polynomial", "dimensions": 1, "categories": 3, "exponent": 2},
}


@pytest.mark.parametrize("where", sorted(IGR))
def test_invertible_gaussian_has_the_gradient_of_its_relaxed_expectation(where):
    settings = {"temperature": 0.8, "scale": 0.7, "delta": 0.3}
    problem = build_objective(**IGR[where])
    own = gaussian_mean(problem, **settings)
    method = made("invertible_gaussian", **settings)
    assert outcome(replace(problem, gradient=lambda _: own), method) == "unbiased"
    # A relaxation with delta = 1, the plain softmax, is another estimator; and so is the truth.
    wrong = gaussian_mean(problem, **settings | {"delta": 1.0})
    assert outcome(replace(problem, gradient=lambda _: wrong), method) == "biased"
    assert outcome(problem, method) == "biased"


@pytest.mark.parametrize("which", ["gumbel_rao", "reinmax_rao", "invertible_gaussian"])
def test_a_five_percent_shrink_of_the_own_mean_is_caught(which):
    problem = build_objective("golden_bits")
    if which == "invertible_gaussian":
        own = gaussian_mean(problem, 0.5, 1.0, 0.1)
    else:
        own = (
            relaxed_mean(problem, 0.5) if which == "gumbel_rao" else reinmax_rao_mean(problem, 0.7)
        )
    method = made(which)
    shrunk = replace(method, draw=lambda *given: (1 - SHRINK) * method.draw(*given))
    assert outcome(replace(problem, gradient=lambda _: own), shrunk) == "biased"


# --- Independent oracles: a formula differentiated by torch, sample by sample --------------------


def surrogate(problem: Objective, z: Tensor, relax) -> Tensor:
    """Return autograd of sum_n <J'(z_n), relax(logits)_n> in logits of each draw."""
    logits = problem.params.expand(len(z), *problem.params.shape).clone().requires_grad_()
    return torch.autograd.grad((slopes_at(problem, z) * relax(logits)).sum(), logits)[0]


def as_categories(params: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Write bits as two categories with logits (params, 0)."""
    pair = torch.stack((params, torch.zeros_like(params)), -1)
    return pair, torch.stack((z, 1 - z), -1)


def gapped(logits: Tensor, hot: Tensor, temperature: float, gap: float | str) -> Tensor:
    """Return the moved softmax as in Fan et al.: shifts are constants."""
    fixed = logits.detach()
    top = fixed.amax(-1, keepdim=True)
    chosen = (fixed.softmax(-1) * hot).sum(-1, keepdim=True)
    lead = -torch.log(1 - chosen) / chosen if gap == "p" else gap
    up = (top - fixed) * hot
    down = torch.relu(fixed - top + lead) * (1 - hot)
    return ((logits + up - down) / temperature).softmax(-1)


@pytest.mark.parametrize("gap", [0.0, 1.0, 2.5, "p"])
@pytest.mark.parametrize("where", ["golden_bits", "smooth", "polynomial"])
def test_gapped_straight_through_is_the_surrogate_of_its_paper(where, gap):
    problem = objective(where)
    z = problem.family.sample(problem.params, 50, 1, noise("gap"))[:, 0]

    def relax(logits: Tensor) -> Tensor:
        if problem.family is BERNOULLI:
            return gapped(*as_categories(logits, z), 0.7, gap)[..., 0]
        return gapped(logits, z, 0.7, gap)

    method = made("gapped_straight_through", temperature=0.7, gap=gap)
    rows = method.draw(problem, problem.params, 50, noise("gap"))
    torch.testing.assert_close(rows, surrogate(problem, z, relax), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("name", ["gumbel_rao", "reinmax_rao"])
@pytest.mark.parametrize("where", ["golden_bits", "smooth", "polynomial"])
def test_rao_kinds_are_the_surrogates_with_constant_noise(name, where):
    """Conditional Gumbels written out, detached, and softmax((logits + constant) / t) by torch."""
    problem, replicates, temperature = objective(where), 3, 0.6
    shared = noise("rao")
    z = problem.family.sample(problem.params, 50, 1, shared)[:, 0]
    apart = shared.child(name, shared.drawn)
    if problem.family is BERNOULLI:
        logits, hot = as_categories(problem.params, z)
        uniforms = [apart.uniform(50, 1, *z.shape[1:])[:, 0] for _ in range(replicates)]
        # e_other / e_sampled has the law of (1 - u) / u.
        exponentials = [torch.where(hot > 0, 1.0, ((1 - u) / u)[..., None]) for u in uniforms]
    else:
        logits, hot = problem.params, z
        exponentials = [apart.exponential(50, 1, *z.shape[1:])[:, 0] for _ in range(replicates)]
    pi = logits.softmax(-1)
    rho = (pi + hot) / 2 if name == "reinmax_rao" else pi.expand_as(hot)

    def relax(logits: Tensor) -> Tensor:
        pair = as_categories(logits, z)[0] if problem.family is BERNOULLI else logits
        total = torch.zeros_like(pair)
        for e in exponentials:
            top = (e * hot).sum(-1, keepdim=True)
            gumbels = torch.where(hot > 0, -top.log(), -(e / rho + top).log())
            total = total + ((pair + (gumbels - pair).detach()) / temperature).softmax(-1)
        y = total / replicates
        if name == "reinmax_rao":
            y = 2 * y - 0.5 * pair.softmax(-1)
        return y[..., 0] if problem.family is BERNOULLI else y

    method = made(name, replicates=replicates, temperature=temperature)
    rows = method.draw(problem, problem.params, 50, noise("rao"))
    torch.testing.assert_close(rows, surrogate(problem, z, relax), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(
    ("settings", "bit"),
    [
        ({"derivative": "identity"}, lambda x: x),
        ({"derivative": "clipped"}, lambda x: x.clamp(-1, 1)),
        ({"temperature": 0.6}, lambda x: (x / 0.6).sigmoid()),
    ],
)
@pytest.mark.parametrize("kind", ["straight_through", "step_straight_through"])
def test_derivatives_of_bits_are_those_of_their_surrogates(kind, settings, bit):
    problem = objective("golden_bits")
    z = problem.family.sample(problem.params, 20, 1, noise("bits"))[:, 0]
    if kind == "step_straight_through":
        z = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64).expand(20, 3)  # logits .4 -1.3 .8
    rows = build_estimator(kind, **settings).draw(problem, problem.params, 20, noise("bits"))
    torch.testing.assert_close(rows, surrogate(problem, z, bit), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("settings", "soft"),
    [
        ({"derivative": "identity"}, lambda x: x),
        ({"temperature": 0.6}, lambda x: (x / 0.6).softmax(-1)),
    ],
)
@pytest.mark.parametrize("kind", ["straight_through", "snap_straight_through"])
def test_derivatives_of_categories_are_those_of_their_surrogates(kind, settings, soft):
    problem = objective("smooth")
    z = problem.family.sample(problem.params, 20, 1, noise("categories"))[:, 0]
    if kind == "snap_straight_through":
        best = problem.params.argmax(-1)
        z = torch.nn.functional.one_hot(best, 4).double().expand(20, 3, 4)
    rows = build_estimator(kind, **settings).draw(problem, problem.params, 20, noise("categories"))
    torch.testing.assert_close(rows, surrogate(problem, z, soft), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("step_straight_through", "golden_bits"),
        ("step_straight_through", "digits_vae"),
        ("snap_straight_through", "smooth"),
        ("snap_straight_through", "digits_vae categorical"),
    ],
)
def test_deterministic_kinds_have_no_variance_at_all(name, where):
    problem, method = objective(where), build_estimator(name)
    found = exact_moments(problem, method)
    assert not found.variance.any()
    rows = method.draw(problem, problem.params, 5, noise("mode"))
    assert torch.equal(rows, rows[:1].expand_as(rows))
    np.testing.assert_allclose(problem.pullback(rows)[0].numpy(), found.mean, rtol=1e-9, atol=1e-12)
    used = noise("mode")
    method.draw(problem, problem.params, 5, used)
    assert used.drawn == 0


def test_step_and_snap_decide_ties_for_one_and_for_the_first():
    problem = build_objective("quadratic", dimensions=2, target=0.3, reduce="sum", logits=0.0)
    row = build_estimator("step_straight_through", derivative="identity").draw(
        problem, problem.params, 1, noise("tie")
    )
    assert torch.equal(row, torch.full((1, 2), 1.4, dtype=torch.float64))  # 2 (1 - 0.3)
    flat = build_objective("polynomial", dimensions=1, categories=3, spread=0.0, target=0.25)
    row = build_estimator("snap_straight_through", derivative="identity").draw(
        flat, flat.params, 1, noise("tie")
    )
    torch.testing.assert_close(row[0, 0], -0.5 * torch.linspace(0, 1, 3, dtype=torch.float64))


@pytest.mark.parametrize("where", ["golden_bits", "smooth"])
def test_darn_and_decoupled_are_their_formulas_in_numpy(where):
    problem = objective(where)
    shared = noise("formula")
    z = problem.family.sample(problem.params, 30, 1, shared)[:, 0]
    slopes, params = slopes_at(problem, z).numpy(), problem.params.numpy()
    rows = made("darn").draw(problem, problem.params, 30, noise("formula")).numpy()
    cold = problem.family.sample(problem.params / 0.4, 30, 1, noise("formula"))[:, 0]
    method = made("decoupled_straight_through", forward_temperature=0.4, backward_temperature=1.7)
    other = method.draw(problem, problem.params, 30, noise("formula")).numpy()
    cold_slopes = slopes_at(problem, cold).numpy()
    for n in range(30):
        if where == "golden_bits":
            p, soft = 1 / (1 + np.exp(-params)), 1 / (1 + np.exp(-params / 1.7))
            darn = (z[n].numpy() - p) ** 2 * slopes[n]
            decoupled = soft * (1 - soft) * cold_slopes[n] / 1.7
        else:
            darn, decoupled = np.empty_like(params), np.empty_like(params)
            for i, row in enumerate(params):
                pi, soft = (np.exp(row / t) / np.exp(row / t).sum() for t in (1, 1.7))
                score = z[n, i].numpy() - pi
                darn[i] = score @ slopes[n, i] * score
                decoupled[i] = (np.diag(soft) - np.outer(soft, soft)) @ cold_slopes[n, i] / 1.7
        np.testing.assert_allclose(rows[n], darn, rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(other[n], decoupled, rtol=1e-9, atol=1e-13)


# --- The decoupled law --------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["golden_bits", "smooth", "digits_vae"])
def test_decoupled_at_forward_temperature_one_is_straight_through(where):
    problem = objective(where)
    one = made("decoupled_straight_through", forward_temperature=1.0, backward_temperature=0.7)
    plain = made("straight_through", temperature=0.7)
    assert one.target == "objective"
    rows, expected = (m.draw(problem, problem.params, 40, noise("one")) for m in (one, plain))
    torch.testing.assert_close(rows, expected, rtol=1e-12, atol=1e-14)


def direct_problem(where: str) -> Objective:
    """Return a cost that depends on the logits through more than z."""
    problem = objective(where)
    axes = tuple(range(-problem.family.params_axes, 0))

    def cost(z: Tensor, params: Tensor) -> Tensor:
        return problem.cost(z, params) + (z * params.sin()).sum(axes)

    return replace(problem, cost=cost, value=None, gradient=None, direct=True)


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("where", ["golden_bits", "smooth"])
def test_the_decoupled_target_is_the_gradient_of_the_tempered_expectation(where, direct):
    """Against central differences of sum_z q(z; logits / 0.5) J(z, logits)."""
    problem = direct_problem(where) if direct else objective(where)
    method = made("decoupled_straight_through")
    assert method.target == "tempered"
    z, _ = states_of(problem)

    def value(params: Tensor) -> Tensor:
        return problem.family.log_prob(params / 0.5, z).exp() @ problem.cost(z, params)

    found = method.exact_gradient(problem).flatten()
    for i in range(problem.params.numel()):
        step = torch.zeros(problem.params.numel(), dtype=torch.float64)
        step[i] = 1e-5
        step = step.reshape(problem.params.shape)
        slope = (value(problem.params + step) - value(problem.params - step)) / 2e-5
        assert float(found[i]) == pytest.approx(float(slope), rel=1e-6, abs=1e-8)


# --- torch's own sampler and the reinmax package: same mean AND covariance ------------------------

DRAWS = 200_000


def of_package(problem: Objective, sampler, seed: int) -> Tensor:
    """Return a gradient for each draw by backpropagating J through somebody else's sampler."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        logits = problem.params.expand(DRAWS, *problem.params.shape).clone().requires_grad_()
        cost = problem.cost(sampler(logits), problem.params)
        return torch.autograd.grad(cost.sum(), logits)[0]


def furthest(a: Tensor, b: Tensor) -> float:
    """Return the p-value, over all entries, that two samples share mean and covariance.

    Entries of the mean and of the covariance are means of draws: z-scores, Bonferroni.
    """
    pooled = (a.double().mean(0) + b.double().mean(0)).flatten() / 2

    def entries(rows: Tensor) -> Tensor:
        centred = rows.double().flatten(1) - pooled
        upper = torch.triu_indices(centred.shape[1], centred.shape[1])
        return torch.cat((centred, centred[:, upper[0]] * centred[:, upper[1]]), 1)

    first, second = entries(a), entries(b)
    error = (first.var(0) / len(a) + second.var(0) / len(b)).sqrt()
    scores = ((first.mean(0) - second.mean(0)).abs() / error)[error > 1e-12]
    return min(1.0, 2 * len(scores) * float(stats.norm.sf(float(scores.max()))))


def torch_sampler(temperature: float, hard: bool):
    return lambda logits: torch.nn.functional.gumbel_softmax(logits, temperature, hard)


@pytest.mark.parametrize("temperature", [0.5, 1.0])
@pytest.mark.parametrize("hard", [False, True])
def test_torch_gumbel_softmax_has_our_mean_and_covariance(hard, temperature):
    problem = build_objective(**SMALL["smooth"])
    theirs = of_package(problem, torch_sampler(temperature, hard), seed=43)
    name = "straight_through_gumbel_softmax" if hard else "gumbel_softmax"
    rows = {
        t: made(name, temperature=t).draw(problem, problem.params, DRAWS, noise("torch", hard))
        for t in (temperature, 1.1 * temperature)
    }
    assert furthest(theirs, rows[temperature]) > FALSE_ALARM
    assert furthest(theirs, rows[1.1 * temperature]) < 1e-9  # and another temperature has not


@pytest.mark.parametrize("temperature", [1.0, 1.5])
def test_the_reinmax_package_has_our_mean_and_covariance(temperature):
    problem = build_objective(**SMALL["smooth"])
    theirs = of_package(
        problem, lambda logits: reinmax_package.reinmax(logits, temperature)[0], seed=44
    )
    rows = {
        t: made("reinmax", temperature=t).draw(problem, problem.params, DRAWS, noise("package"))
        for t in (temperature, 1.1 * temperature)
    }
    assert furthest(theirs, rows[temperature]) > FALSE_ALARM
    assert furthest(theirs, rows[1.1 * temperature]) < 1e-9


@pytest.mark.parametrize("hard", [False, True])
def test_the_gumbel_softmax_kinds_of_bits_are_those_of_two_categories(hard):
    """Torch's sampler on logits (phi, 0), J read from the first place."""
    problem = objective("golden_bits")
    name = "straight_through_gumbel_softmax" if hard else "gumbel_softmax"
    rows = made(name, temperature=0.7).draw(problem, problem.params, DRAWS, noise("two", hard))

    def sampler(logits: Tensor) -> Tensor:
        pair = torch.stack((logits, torch.zeros_like(logits)), -1)
        return torch.nn.functional.gumbel_softmax(pair, 0.7, hard)[..., 0]

    assert furthest(of_package(problem, sampler, seed=45), rows) > FALSE_ALARM


# --- Everywhere: items, extremes, refusals ------------------------------------------------------


@pytest.mark.parametrize("where", ["digits_vae", "digits_vae categorical"])
def test_items_are_finite_and_do_not_mix(where):
    problem = objective(where)

    def louder(z: Tensor, params: Tensor) -> Tensor:
        cost = problem.cost(z, params)
        scale = torch.ones(cost.shape[-1], dtype=cost.dtype)
        scale[1:] = 100.0
        return cost * scale

    mode = "snap_straight_through" if "categorical" in where else "step_straight_through"
    for name in [*SAMPLED, mode]:
        method = made(name)
        quiet, loud = (
            method.draw(case, problem.params, 3, noise("items"))
            for case in (problem, replace(problem, cost=louder))
        )
        assert torch.isfinite(loud).all()
        torch.testing.assert_close(quiet[:, 0], loud[:, 0])
        assert not torch.allclose(quiet[:, 1], loud[:, 1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", sorted(SAMPLED))
def test_finite_at_large_logits_and_low_temperature(name, dtype):
    bits = replace(
        objective("golden_bits"), params=torch.tensor([20.0, -20.0, 0.0], dtype=torch.float64)
    )
    logits = torch.zeros(3, 4, dtype=torch.float64)
    logits[0, 1], logits[1, 2], logits[2, :2] = 20, -20, torch.tensor([20.0, -20.0])
    categories = replace(objective("smooth"), params=logits)
    cold = {"decoupled_straight_through": ("forward_temperature", "backward_temperature")}
    for problem in (bits, categories):
        settings = {}
        if "identity" not in name and name != "darn":
            settings = dict.fromkeys(cold.get(name, ("temperature",)), 0.05)
        method = made(name, **settings)
        rows = method.draw(problem, problem.params.to(dtype), 4_096, Noise(46, dtype=dtype))
        assert rows.dtype == dtype
        assert torch.isfinite(rows).all()
        if method.finite:  # and given every z, however rare
            for _, gradient in method.finite.outcomes(problem, problem.params.to(dtype)):
                assert torch.isfinite(gradient).all()


def test_the_gap_p_is_the_mean_lead_of_the_largest_gumbel():
    """E[log(1 + r / (1 - pi))], r a ratio of two exponentials, with density 1 / (1 + r)^2."""
    from benchbed.estimators.gapped_straight_through import _gaps

    logits = torch.tensor([0.3, -1.0, 1.2], dtype=torch.float64)
    for gap, pi in zip(_gaps(logits).tolist(), logits.softmax(-1).tolist(), strict=True):
        lead = integrate.quad(lambda r, pi=pi: math.log1p(r / (1 - pi)) / (1 + r) ** 2, 0, math.inf)
        assert gap == pytest.approx(lead[0], rel=1e-7)


def test_gaps_keep_their_digits_at_both_ends():
    """-log(1 - pi) / pi tends to 1 for a rare category and to the distance for a sure one."""
    from benchbed.estimators.gapped_straight_through import _gaps

    gaps = _gaps(torch.tensor([[0.0, 40.0], [0.0, -0.5]], dtype=torch.float64))
    p = 1 / (1 + math.exp(0.5))
    assert gaps[0].tolist() == pytest.approx([1.0, 40.0], rel=1e-12)
    assert gaps[1].tolist() == pytest.approx(
        [-math.log(p) / (1 - p), -math.log(1 - p) / p], rel=1e-12
    )


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("straight_through", {"derivative": "identity", "temperature": 0.5}, "leave the temp"),
        ("straight_through", {"derivative": "clipped", "temperature": 2.0}, "leave the temp"),
        ("straight_through", {"temperature": math.nan}, "temperature > 0"),
        ("straight_through", {"samples": 0}, "samples >= 1"),
        ("step_straight_through", {"derivative": "identity", "temperature": 2.0}, "leave the"),
        ("snap_straight_through", {"temperature": 0.0}, "temperature > 0"),
        ("gumbel_rao", {"replicates": 0}, "replicates >= 1"),
        ("gumbel_rao", {"temperature": -1.0}, "temperature > 0"),
        ("reinmax_rao", {"replicates": 0}, "replicates >= 1"),
        ("gapped_straight_through", {"gap": -1.0}, "gap: a number >= 0"),
        ("gapped_straight_through", {"gap": math.nan}, "gap: a number >= 0"),
        ("gapped_straight_through", {"gap": math.inf}, "gap: a number >= 0"),
        ("decoupled_straight_through", {"forward_temperature": 0.0}, "temperature > 0"),
        ("decoupled_straight_through", {"backward_temperature": math.nan}, "temperature > 0"),
        ("invertible_gaussian", {"delta": 0.0}, "delta > 0"),
        ("invertible_gaussian", {"scale": math.nan}, "scale > 0"),
        ("invertible_gaussian", {"temperature": 0.0}, "temperature > 0"),
        ("darn", {"samples": 0}, "samples >= 1"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(name, settings, reason):
    with pytest.raises(BadArgument, match=reason) as refused:
        build_estimator(name, **settings)
    assert "\n" not in str(refused.value)


def test_clipped_is_made_for_bits_alone():
    assert made("straight_through", derivative="clipped").families == {"bernoulli"}
    assert made("straight_through", derivative="identity").families == {"bernoulli", "categorical"}


def test_softmax_kinds_have_gradients_that_sum_to_zero_over_categories():
    problem = objective("smooth")
    for name in SAMPLED:
        rows = made(name).draw(problem, problem.params, 64, noise("sums"))
        sums = rows.sum(-1).abs().max()
        assert (float(sums) < 1e-12) == ("identity" not in name), name


def test_softmax_vjp_is_the_jacobian_used_here():
    """The one shared piece of the surrogates above and the estimators, against autograd."""
    logits = noise("jacobian").normal(5, 4).requires_grad_()
    slope = noise("slope").normal(5, 4)
    expected = torch.autograd.grad((logits.softmax(-1) * slope).sum(), logits)[0]
    torch.testing.assert_close(softmax_vjp(logits.softmax(-1).detach(), slope), expected)
