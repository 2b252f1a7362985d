"""Local expectations, sums over likely outcomes, and sampling without replacement."""

from __future__ import annotations

import importlib
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from bias_cases import SEED, judged
from panel import blocks_of, fresh_blocks, objective
from scipy import stats
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchbed.analysis.verdict import judge
from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Estimator, Objective
from benchbed.errors import BadArgument, IncompatiblePair
from benchbed.estimators import _unordered_sets as sets
from benchbed.estimators import _without_replacement as beam
from benchbed.estimators._outcomes import Law, departures, law_of, most_probable
from benchbed.estimators._without_replacement import without_replacement
from benchbed.estimators.unordered_set import unordered_set
from benchbed.families import BERNOULLI
from benchbed.families.particles import particles
from benchbed.layout import draws_last
from benchbed.measurement.exact_moments import exact_moments
from benchbed.rng import Noise

RB = "rao_blackwell_score_function"
FALSE_ALARM = 1e-4

# Trace variances on golden_bits, all printed digits.
GOLDEN = [
    ("local_expectation", {}, "0.11860"),
    ("sum_and_sample", {"samples": 3}, "4.83333"),
    (RB, {"top": 1}, "6.21494"),
    (RB, {"top": 3}, "1.45652"),
    ("unordered_set", {"samples": 2, "baseline": False}, "4.84212"),
    ("unordered_set", {"samples": 2}, "2.47089"),
    ("unordered_set", {"samples": 3, "baseline": False}, "2.37835"),
    ("unordered_set", {"samples": 3}, "0.90850"),
]
WAYS = [
    ("local_expectation", {}),
    ("sum_and_sample", {"samples": 2}),
    (RB, {"top": 2, "samples": 3}),
    ("unordered_set", {}),
    ("unordered_set", {"samples": 3, "baseline": False}),
]


def noise(*path: str) -> Noise:
    return Noise(7, *path, dtype=torch.float64)


def outcome(problem: Objective, method: Estimator, draws: int) -> str:
    cells = {"cell": blocks_of(problem, method, draws, SEED)}
    return judge(cells, lambda _: fresh_blocks(problem, method, draws, SEED))["cell"].outcome


def skewed(dimensions: int = 3) -> Tensor:
    return torch.linspace(-2.5, 1.5, dimensions, dtype=torch.float64)


@pytest.mark.parametrize(("name", "settings", "printed"), GOLDEN)
def test_golden_variances_to_all_printed_digits(name, settings, printed):
    found = exact_moments(objective("golden_bits"), build_estimator(name, **settings))
    assert f"{found.variance.sum():.5f}" == printed


@pytest.mark.parametrize(("name", "settings"), WAYS)
@pytest.mark.parametrize("where", ["golden_bits", "coupled", "table", "smooth", "iwae", "digits"])
def test_the_exact_mean_is_the_exact_gradient(where, name, settings):
    if where == "iwae":  # particles: a law that is listed, and a direct term
        problem = build_objective("iwae", latents="bernoulli", dimensions=2)
    elif where == "digits":  # items, a direct term and a Jacobian
        if name == "sum_and_sample" or settings.get("samples") == 3:
            problem = build_objective("digits_vae", latents="categorical", images=1)
        else:
            problem = build_objective("digits_vae", images=3)
    else:
        problem = objective(where)
    method = build_estimator(name, **settings)
    if method.families and problem.family.name not in method.families:
        with pytest.raises(IncompatiblePair):
            blocks_of(problem, method, 128, 1)
        return
    found = exact_moments(problem, method)
    truth = problem.pullback(problem.exact_gradient()[None])[0].numpy()
    np.testing.assert_allclose(found.mean, truth, rtol=1e-9, atol=1e-9 * np.abs(truth).max())


@pytest.mark.parametrize(("name", "settings"), [*WAYS[1:], WAYS[0]])
@pytest.mark.parametrize("where", ["golden_bits", "quantized", "digits_vae categorical"])
def test_draws_have_the_exact_moments(where, name, settings):
    """The samplers, against the estimator summed over its outcomes."""
    problem, method = objective(where), build_estimator(name, **settings)
    if where.startswith("digits"):
        problem = build_objective("digits_vae", latents="categorical", images=1)
    if method.families and problem.family.name not in method.families:
        return
    exact = exact_moments(problem, method, most=2**20)
    blocks = blocks_of(problem, method, 32_768, 3, "float64")
    mean = blocks.exact + blocks.first.sum(0) / 32_768
    error = np.sqrt(exact.variance / 32_768)
    alive = error > 1e-9
    z = np.abs(mean - exact.mean)[alive] / error[alive]
    assert z.max() < stats.norm.isf(FALSE_ALARM / (2 * alive.sum())) + 1
    total = blocks.distance[0].sum() / 32_768 - np.square(blocks.first.sum(0) / 32_768).sum()
    spread = blocks.distance[0] / blocks.count
    slack = stats.norm.isf(FALSE_ALARM / 2) * spread.std(ddof=1) / 8 + 1e-9
    assert abs(total - exact.variance.sum()) < slack


@pytest.mark.parametrize("where", ["golden_bits", "coupled"])
def test_local_expectation_has_its_closed_form_variance(where):
    """v_i^2 Var(J(b[i<-1]) - J(b[i<-0]))."""
    problem = objective(where)
    phi = problem.params
    z = BERNOULLI.enumerate(phi, torch.arange(2 ** len(phi)))
    q = BERNOULLI.log_prob(phi, z).exp()
    found = exact_moments(problem, build_estimator("local_expectation")).variance
    for i in range(len(phi)):
        ends = []
        for bit in (1.0, 0.0):
            at = z.clone()
            at[:, i] = bit
            ends.append(problem.cost(at[None], phi)[0])
        gap = ends[0] - ends[1]
        v = phi[i].sigmoid() * torch.sigmoid(-phi[i])
        expected = v**2 * (q @ gap.square() - (q @ gap) ** 2)
        assert found[i] == pytest.approx(float(expected), rel=1e-10)


@pytest.mark.parametrize("where", ["quadratic", "polynomial"])
def test_local_expectation_has_no_variance_on_an_additive_cost(where):
    problem, method = objective(where), build_estimator("local_expectation")
    truth = problem.exact_gradient()
    rows = method.draw(problem, problem.params, 64, noise())
    torch.testing.assert_close(rows, truth.expand_as(rows), rtol=1e-12, atol=1e-14)
    assert exact_moments(problem, method).variance.max() < 1e-28


@pytest.mark.parametrize("top", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("where", ["golden_bits", "table"])
def test_summing_likely_outcomes_leaves_at_most_their_share_of_the_variance(where, top):
    """Var_new <= Q Var_old, coordinate by coordinate."""
    problem = objective(where)
    family = problem.family
    z = family.enumerate(problem.params, torch.arange(family.states(problem.params)))
    q = family.log_prob(problem.params, z).exp().sort(descending=True).values
    old = exact_moments(problem, build_estimator("score_function")).variance
    new = exact_moments(problem, build_estimator(RB, top=top)).variance
    assert (new <= float(q[top:].sum()) * old * (1 + 1e-12)).all()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("unordered_set", {"samples": 8}),
        ("unordered_set", {"samples": 8, "baseline": False}),
        ("sum_and_sample", {"samples": 8}),
        (RB, {"top": 8}),
    ],
)
def test_all_outcomes_give_the_exact_gradient(name, settings):
    problem, method = objective("golden_bits"), build_estimator(name, **settings)
    rows = method.draw(problem, problem.params, 128, noise())
    truth = problem.exact_gradient().expand_as(rows)
    torch.testing.assert_close(rows, truth, rtol=1e-11, atol=1e-13)
    assert exact_moments(problem, method).variance.max() < 1e-24


def test_sets_too_large_for_subsets_are_exact_by_quadrature():
    """11 of 16 outcomes, each of the 4,368 sets weighed by an integral."""
    problem = build_objective("coupled", dimensions=4)
    truth = problem.exact_gradient().numpy()
    for baseline in (True, False):
        method = build_estimator("unordered_set", samples=11, baseline=baseline)
        found = exact_moments(problem, method)
        np.testing.assert_allclose(found.mean, truth, rtol=1e-9)


@pytest.mark.parametrize("k", [1, 2, 4, 7, 10])
@pytest.mark.parametrize("scale", [0.3, 2.0, 6.0])
def test_subsets_and_quadrature_weigh_sets_alike(k, scale):
    raw = scale * noise("sets", str(k)).normal(64, 20).contiguous()
    log_q = raw.log_softmax(-1)[:, :k].T.contiguous()
    by_subsets, by_quadrature = sets._by_subsets(log_q), sets._by_quadrature(log_q)
    for ours, theirs in zip(by_subsets, by_quadrature, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-11)
    torch.testing.assert_close(by_subsets.first.sum(0), torch.ones(64, dtype=torch.float64))


def test_weights_of_sets_survive_probabilities_that_underflow():
    for k in (3, 12):
        log_q = torch.full((k, 2), -900.0, dtype=torch.float64)
        weights = sets.set_weights(log_q)
        torch.testing.assert_close(weights.first, torch.full_like(weights.first, 1 / k))
        off = weights.both.sum(1)
        torch.testing.assert_close(off, torch.full_like(off, 1 / k))


def _in_order(q: dict[int, float], order: tuple[int, ...], gone: tuple[int, ...]) -> float:
    """Return the probability of drawing ``order`` one after another once ``gone`` are gone."""
    rest, chance = 1 - sum(q[s] for s in gone), 1.0
    for s in order:
        chance *= q[s] / rest
        rest -= q[s]
    return chance


def _as_set(q: dict[int, float], members: set[int], gone: tuple[int, ...]) -> float:
    return sum(_in_order(q, order, gone) for order in itertools.permutations(members))


def _transcribed_set(q, cost, score, chosen, baseline: bool) -> np.ndarray:
    """Kool et al.'s formula, with every probability a sum over orders."""
    whole = set(chosen)
    total = np.zeros_like(score[chosen[0]])
    for s in chosen:
        ratio = _as_set(q, whole - {s}, (s,)) / _as_set(q, whole, ())
        centre = 0.0
        if baseline:
            for other in chosen:
                second = 1.0
                if other != s:
                    second = _as_set(q, whole - {s, other}, (s, other))
                    second /= _as_set(q, whole - {s}, (s,))
                centre += q[other] * second * cost[other]
        total = total + ratio * q[s] * score[s] * (cost[s] - centre)
    return total


def _transcribed_sum(q, cost, score, chosen) -> np.ndarray:
    total, rest = np.zeros_like(score[chosen[0]]), 1.0
    for s in chosen[:-1]:
        total = total + q[s] * cost[s] * score[s]
        rest -= q[s]
    return total + rest * cost[chosen[-1]] * score[chosen[-1]]


@pytest.mark.parametrize("where", ["coupled", "table"])
@pytest.mark.parametrize("samples", [2, 3, 5])
@pytest.mark.parametrize("name", ["plain", "baseline", "sum_and_sample"])
def test_a_transcription_of_the_formula_gives_the_same_rows(where, samples, name):
    problem, draws = objective(where), 24
    family, params = problem.family, problem.params
    states = family.enumerate(params, torch.arange(family.states(params)))
    q = dict(enumerate(family.log_prob(params, states).exp().tolist()))
    cost = problem.cost(states[None], params)[0].tolist()
    score = family.score(params, states).numpy()
    if name == "sum_and_sample":
        method = build_estimator(name, samples=samples)
    else:
        method = build_estimator("unordered_set", samples=samples, baseline=name == "baseline")
    rows = method.draw(problem, params, draws, noise("rows"))
    z, _ = without_replacement(law_of(family, params), draws, samples, noise("rows"))
    number = {tuple(state.flatten().tolist()): i for i, state in enumerate(states)}
    for row, drawn in zip(rows, z, strict=True):
        chosen = [number[tuple(x.flatten().tolist())] for x in drawn]
        if name == "sum_and_sample":
            expected = _transcribed_sum(q, cost, score, chosen)
        else:
            expected = _transcribed_set(q, cost, score, chosen, name == "baseline")
        np.testing.assert_allclose(row.numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("where", ["coupled", "smooth"])
def test_a_transcription_of_local_expectations_gives_the_same_rows(where):
    problem, draws = objective(where), 24
    family, params = problem.family, problem.params
    rows = build_estimator("local_expectation", samples=2).draw(problem, params, draws, noise())
    z = family.sample(params, draws, 2, noise())
    bits = family.name == "bernoulli"
    for row, pair in zip(rows, z, strict=True):
        expected = torch.zeros_like(params)
        for one, i in itertools.product(pair, range(len(params))):
            values = torch.arange(2.0) if bits else torch.eye(params.shape[-1])
            costs = []
            for value in values:
                changed = one.clone()
                changed[i] = value
                costs.append(float(problem.cost(changed[None, None], params)))
            if bits:
                p = float(params[i].sigmoid())
                expected[i] += p * (1 - p) * (costs[1] - costs[0]) / 2
            else:
                pi, at = params[i].softmax(-1), torch.tensor(costs, dtype=torch.float64)
                expected[i] += pi * (at - pi @ at) / 2
        torch.testing.assert_close(row, expected, rtol=1e-9, atol=1e-12)


def _law(kind: str) -> tuple[Law, Tensor]:
    """Return a law and the probabilities of its outcomes, the first variable's value first."""
    if kind == "categorical":
        params = torch.tensor([[1.0, -1.0, 0.2], [0.1, 2.0, -0.5]], dtype=torch.float64)
        a, b = params.softmax(-1)
        return law_of(objective("table").family, params), (b[:, None] * a).flatten()
    p = skewed().sigmoid()
    q = torch.ones(1, dtype=torch.float64)
    for x in p:
        q = torch.cat((q * (1 - x), q * x))
    if kind == "listed":  # the same law by the list of its outcomes
        return law_of(replace(BERNOULLI, name="unknown"), skewed()), q
    return law_of(BERNOULLI, skewed()), q


def _p_value(law: Law, q: Tensor, samples: int, seed: str) -> float:
    """Chi-square of ordered draws without replacement, rare orders together."""
    draws, states = 60_000, len(q)
    z, log_q = without_replacement(law, draws, samples, noise("chi", seed))
    flat = z.flatten(2)
    if z.ndim == 4:
        digits, radix = z.argmax(-1), z.shape[-1]
    else:
        digits, radix = flat.long(), 2
    index = (digits * radix ** torch.arange(digits.shape[-1])).sum(-1)  # [draws, samples]
    torch.testing.assert_close(log_q, draws_last(q.log()[index]), rtol=1e-9, atol=1e-12)
    cell = (index * states ** torch.arange(samples)).sum(-1)
    seen = torch.bincount(cell, minlength=states**samples).numpy()
    chance = np.zeros(states**samples)
    weights = dict(enumerate(q.tolist()))
    for order in itertools.permutations(range(states), samples):
        place = sum(s * states**j for j, s in enumerate(order))
        chance[place] = _in_order(weights, order, ())
    assert seen[chance == 0].sum() == 0  # distinct, always
    often = chance * draws >= 10
    counts = np.append(seen[often], seen[~often].sum())
    expected = np.append(chance[often], chance[~often].sum()) * draws
    kept = expected > 0
    return float(stats.chisquare(counts[kept], expected[kept], sum_check=False).pvalue)


@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize("kind", ["bernoulli", "categorical", "listed"])
def test_the_beam_draws_in_the_order_of_sampling_without_replacement(kind, samples):
    law, q = _law(kind)
    assert _p_value(law, q, samples, f"{kind} {samples}") > FALSE_ALARM


def test_a_beam_at_another_temperature_is_caught():
    """The first outcome comes from its own boundaries: only the order of the rest is wrong."""
    law, q = _law("bernoulli")

    class Warm(Law):
        @property
        def log_probs(self) -> Tensor:
            return 0.9 * self.exact

    assert _p_value(Warm(*law), q, 3, "warm") < 1e-6


def test_the_first_outcome_shares_its_noise_with_every_other_estimator():
    for where in ("coupled", "smooth", "digits_vae"):
        problem = objective(where)
        family, params = problem.family, problem.params
        shared, alone = noise("shared"), noise("shared")
        for _ in range(2):
            z, _ = without_replacement(law_of(family, params), 16, 3, shared)
            assert torch.equal(z[:, :1], family.sample(params, 16, 1, alone))
        assert shared.drawn > alone.drawn


@pytest.mark.parametrize("where", ["coupled", "smooth", "digits_vae"])
def test_the_likeliest_outcomes_and_the_subtrees_of_the_rest(where):
    problem = objective(where)
    family, params = problem.family, problem.params
    law, top = law_of(family, params), 7
    chosen = most_probable(law.exact, top)
    z = law.build(chosen.movedim(-2, 0)[..., None])
    log_q = family.log_prob(params, z)[0]  # [top, *items]
    states = family.enumerate(params, torch.arange(family.states(params)))
    for _ in family.items(params):
        states = states.unsqueeze(1)
    every = family.log_prob(params, states)  # [states, *items]
    best = every.sort(0, descending=True).values
    torch.testing.assert_close(log_q, best[:top])
    rest = departures(law.exact, chosen).log_mass.exp().sum(-1)
    torch.testing.assert_close(rest, best[top:].exp().sum(0), rtol=1e-12, atol=1e-15)


def test_outcomes_of_the_rest_are_drawn_by_their_share():
    problem = objective("golden_bits")
    seen = []

    def watching(z: Tensor, params: Tensor) -> Tensor:
        seen.append((z * torch.tensor([1.0, 2.0, 4.0])).sum(-1).long().flatten())
        return problem.cost(z, params)

    method = build_estimator(RB, top=3, samples=2)
    method.draw(replace(problem, cost=watching), problem.params, 50_000, noise("rest"))
    counts = torch.bincount(seen[1], minlength=8).double()
    z = BERNOULLI.enumerate(problem.params, torch.arange(8))
    q = BERNOULLI.log_prob(problem.params, z).exp()
    assert set(seen[0].tolist()) == set(q.topk(3).indices.tolist())
    q[seen[0]] = 0
    assert (counts[q == 0] == 0).all()
    expected = 100_000 * q / q.sum()
    found = stats.chisquare(counts[q > 0].numpy(), expected[q > 0].numpy())
    assert found.pvalue > FALSE_ALARM


LARGE = {
    "coupled 9": {"name": "coupled", "dimensions": 9},
    "smooth 8 x 10": {"name": "smooth", "dimensions": 8, "categories": 10},
}


@pytest.mark.parametrize(("name", "settings"), WAYS)
def test_large_supports_pass_the_bias_test(name, settings):
    """10^8 outcomes, which no list holds."""
    method = build_estimator(name, **settings)
    problems = {key: build_objective(**given) for key, given in LARGE.items()}
    draws = {"coupled 9": 65_536, "smooth 8 x 10": 4_096 if name == "local_expectation" else 65_536}
    verdicts = judge(
        {key: blocks_of(problem, method, draws[key], SEED) for key, problem in problems.items()},
        lambda key: fresh_blocks(problems[key], method, draws[key], SEED),
    )
    for key, verdict in verdicts.items():
        print(f"{name} {settings} on {key}: {verdict.one_line()}")
        assert verdict.outcome == "unbiased"


def test_they_pass_the_bias_test():
    verdicts = judged({("golden_bits", name): 65_536 for name in ESTIMATOR_KEYS})
    verdicts |= judged({("smooth", name): 65_536 for name in ESTIMATOR_KEYS})
    for name, verdict in verdicts.items():
        print(f"{name}: {verdict.one_line()}")
        assert verdict.outcome != "biased", name
    assert sum(verdict.outcome == "unbiased" for verdict in verdicts.values()) >= 7


ESTIMATOR_KEYS = (
    "local_expectation",
    "sum_and_sample",
    "rao_blackwell_score_function",
    "unordered_set",
    "unordered_set plain",
)


def _fault(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"benchbed.estimators.{name}")
    if name == "unordered_set":  # a set of distinct outcomes taken for independent samples

        def equal(log_q: Tensor) -> sets.SetWeights:
            k = len(log_q)
            first = torch.full_like(log_q, 1 / k)
            both = first.expand(k, *log_q.shape) / max(k - 1, 1)
            return sets.SetWeights(first, both, log_q[0])

        monkeypatch.setattr(module, "set_weights", equal)
    elif name == "sum_and_sample":  # the last one weighed as if none had gone before
        monkeypatch.setattr(module, "rest_after", lambda _gone, least: torch.ones_like(least))
    elif name == RB:  # the rest drawn from all outcomes

        def anything(log_probs: Tensor, chosen: Tensor):
            found = departures(log_probs, chosen)
            return found._replace(fixed=torch.full_like(found.fixed, -1))

        monkeypatch.setattr(module, "departures", anything)
    else:  # every cost in the place of the next category
        right = module._categories

        def turned(*given):
            gradient, direct = right(*given)
            return gradient.roll(1, -2), direct

        monkeypatch.setattr(module, "_categories", turned)


@pytest.mark.parametrize(
    ("name", "settings"),
    [*WAYS[:3], ("unordered_set", {}), ("unordered_set", {"samples": 3, "baseline": False})],
)
def test_a_planted_fault_is_caught(name, settings, monkeypatch):
    _fault(name, monkeypatch)
    assert outcome(objective("table"), build_estimator(name, **settings), 65_536) == "biased"


@pytest.mark.parametrize("samples", [2, 12])
def test_supports_that_nothing_could_list(samples):
    """2^20 and 10^8 outcomes."""
    for given in ({"name": "coupled", "dimensions": 20}, LARGE["smooth 8 x 10"]):
        problem = build_objective(**given)
        for name in ("unordered_set", "sum_and_sample"):
            method = build_estimator(name, samples=samples)
            rows = method.draw(problem, problem.params.float(), 32, Noise(8))
            assert torch.isfinite(rows).all()
        rows = build_estimator(RB, top=30).draw(problem, problem.params.float(), 32, Noise(8))
        assert torch.isfinite(rows).all()


@pytest.mark.parametrize(("eta", "truth"), [(0.0, -0.045), (-4.0, -0.003179287)])
def test_three_bits_with_one_shared_logit(eta, truth):
    """The toy of Kool et al. and of Liu et al., J = sum (b - p0)^2, p0 = (.6, .51, .48)."""
    target = torch.tensor([0.6, 0.51, 0.48], dtype=torch.float64)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return (z - target.to(z)).square().sum(-1)

    problem = Objective(
        "shared logit", BERNOULLI, torch.full((3,), eta, dtype=torch.float64), cost,
        jacobian=torch.ones(3, 1, dtype=torch.float64),
    )  # fmt: skip
    exact = problem.pullback(problem.exact_gradient()[None])
    assert float(exact) == pytest.approx(truth, abs=5e-10)
    for name, settings in [*WAYS, ("unordered_set", {"samples": 4}), ("leave_one_out", {})]:
        found = exact_moments(problem, build_estimator(name, **settings))
        assert found.mean == pytest.approx(float(exact), rel=1e-9)
        if name == "local_expectation":
            assert found.variance < 1e-28


def test_a_baseline_makes_constants_in_the_cost_vanish():
    problem = objective("golden_bits")
    raised = replace(problem, cost=lambda z, params: problem.cost(z, params) + 1e3)
    for name in ("unordered_set", "local_expectation"):
        before, after = (
            exact_moments(p, build_estimator(name)).variance for p in (problem, raised)
        )
        np.testing.assert_allclose(before, after, rtol=1e-8)


@pytest.mark.parametrize(("name", "settings"), WAYS)
@pytest.mark.parametrize("where", ["digits_vae", "digits_vae categorical"])
def test_items_do_not_mix(where, name, settings):
    problem, method = objective(where), build_estimator(name, **settings)

    def louder(z: Tensor, params: Tensor) -> Tensor:
        scale = torch.full((16,), 100.0)
        scale[0] = 1.0
        return problem.cost(z, params) * scale

    params = problem.params.float()
    quiet, loud = (
        method.draw(p, params, 4, Noise(9)) for p in (problem, replace(problem, cost=louder))
    )
    torch.testing.assert_close(quiet[:, 0], loud[:, 0])
    assert not torch.allclose(quiet[:, 1:], loud[:, 1:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("logit", [0.0, 20.0, -60.0])
@pytest.mark.parametrize(
    ("name", "settings"), [*WAYS, ("unordered_set", {"samples": 12}), (RB, {"top": 16})]
)
def test_extreme_and_equal_logits_are_finite(name, settings, logit, dtype):
    problem = build_objective("coupled", dimensions=4)
    wide = build_objective("smooth", dimensions=2, categories=4)
    method = build_estimator(name, **settings)
    for given, params in (
        (problem, torch.tensor([logit, -logit, logit, 0.5 * logit], dtype=dtype)),
        (wide, torch.tensor([[logit, 0, -logit, 0]] * 2, dtype=dtype)),
    ):
        rows = method.draw(given, params, 256, Noise(10, dtype=dtype))
        assert torch.isfinite(rows).all()


def test_what_cannot_work_says_so():
    for name, settings in (
        ("unordered_set", {"samples": 1}),
        ("sum_and_sample", {"samples": 1}),
        (RB, {"top": 0}),
        ("local_expectation", {"samples": 0}),
    ):
        with pytest.raises(BadArgument, match=f"{name} needs"):
            build_estimator(name, **settings)
    problem = objective("golden_bits")
    for name, what in (("unordered_set", "samples"), ("sum_and_sample", "samples"), (RB, "top")):
        with pytest.raises(BadArgument, match="9 are more than the 8"):
            build_estimator(name, **{what: 9}).draw(problem, problem.params, 2, noise())
    listed = replace(BERNOULLI, name="unknown")
    with pytest.raises(BadArgument, match="at most 4,096"):
        law_of(listed, torch.zeros(13))
    assert math.comb(8, 2) == build_estimator("unordered_set").finite.count(problem, problem.params)


def test_a_listed_law_is_raced_in_slices(monkeypatch):
    """Memory holds however many outcomes and draws; what is drawn keeps its law."""
    tables = []
    race = beam._race

    def watched(law, leading, *given):
        tables.append(leading.shape[-1] * law.exact[..., 0, :].numel())
        return race(law, leading, *given)

    monkeypatch.setattr(beam, "_race", watched)
    params = torch.tensor([0.3, -0.8], dtype=torch.float64)
    law = law_of(particles(BERNOULLI, 6), params)  # 4,096 outcomes
    z, log_q = without_replacement(law, 1_000, 2, noise())
    assert max(tables) <= beam.MOST_TOGETHER < sum(tables) == 4_096_000
    assert z.shape == (1_000, 2, 6, 2)
    assert log_q.shape == (2, 1_000)
    assert (z[:, 0] != z[:, 1]).any(-1).any(-1).all()
    expected = particles(BERNOULLI, 6).log_prob(params, z)
    torch.testing.assert_close(log_q, expected.T)
    # The first outcome has the law of z, the second is drawn again in every slice.
    error = z[:, 0].mean((0, 1)) - params.sigmoid()
    assert (error / (params.sigmoid() * torch.sigmoid(-params) / 6_000) ** 0.5).abs().max() < 4.5
    assert len(torch.unique(z[:, 1].flatten(1), dim=0)) > 300


def test_too_many_outcomes_to_sum_are_refused_and_the_most_take_little_memory():
    with pytest.raises(BadArgument, match=r"top <= 1,024, got 3,000") as caught:
        build_estimator(RB, top=3_000)
    assert "\n" not in str(caught.value)
    law = law_of(BERNOULLI, torch.linspace(-1, 1, 20, dtype=torch.float64))
    chosen = most_probable(law.exact, 1_024)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        found = departures(law.exact, chosen)
    largest = max(event.self_cpu_memory_usage for event in seen.events())
    assert largest < 2e7
    own = law.exact.expand(1_024, 20, 2).gather(-1, chosen[..., None]).sum((-1, -2)).exp().sum()
    assert float(found.log_mass.exp().sum() + own) == pytest.approx(1, rel=1e-12)


def test_a_flag_that_is_none_is_refused():
    for given in (math.nan, "no", 1):
        with pytest.raises(BadArgument, match="baseline: true or false"):
            unordered_set(baseline=given)
