"""Chains and trees: their laws, and the objectives on them, against lists written out by hand.

The lists and sums are those of benchbed/facts/_over_paths.py and _over_trees.py, plain numpy.
"""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
import scipy.stats
import torch
from bias_cases import SEED
from panel import blocks_of, fresh_blocks
from torch import Tensor

from benchbed.analysis.verdict import SHRINK, Verdict, judge
from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Estimator, Family, Objective
from benchbed.enumeration import marginalize, tuples, written
from benchbed.errors import BadArgument, IncompatiblePair
from benchbed.facts import _over_paths as paths
from benchbed.facts import _over_trees as trees
from benchbed.families.binary_tree import binary_tree, catalan, expectations, log_partition
from benchbed.families.binary_tree import size as tree_size
from benchbed.families.markov_chain import markov_chain
from benchbed.families.markov_chain import size as chain_size
from benchbed.families.particles import particles
from benchbed.layout import draws_last
from benchbed.measurement.exact_moments import exact_moments
from benchbed.objectives import _additive_chain, hidden_markov, pcfg
from benchbed.objectives import binary_tree as tree_objective
from benchbed.rng import Noise

FALSE_ALARM = 1e-4  # the chance that a sound family fails one chi-square comparison
COUNT = 40_000


class Case(NamedTuple):
    family: Family
    shape: tuple[int, ...]  # of a chain its states, of a tree its leaves and labels
    params: Tensor
    samples: int = 1


def noise_of(*path: str | int, dtype: torch.dtype = torch.float64) -> Noise:
    return Noise(41, "structures", *path, dtype=dtype)


def chain(states: tuple[int, ...], shared: bool, *items: int, samples: int = 1) -> Case:
    """Return a case with logits so mild that no outcome is missing from a chi-square table."""
    shape = (*items, chain_size(states, shared))
    params = 0.4 * noise_of("params", *states).normal(*shape).contiguous()
    return Case(markov_chain(states, shared), states, params, samples)


def tree(leaves: int, labels: int, *items: int, samples: int = 1) -> Case:
    shape = (*items, tree_size(leaves, labels))
    params = 0.4 * noise_of("params", leaves, labels).normal(*shape).contiguous()
    return Case(binary_tree(leaves, labels), (leaves, labels), params, samples)


CASES = {
    "chain shared": chain((3, 3, 3), True),
    "chain uneven": chain((2, 3, 1, 2), False, samples=2),
    "chain items": chain((2, 2, 2), False, 2),
    "chain of one step": chain((4,), True, samples=2),
    "tree": tree(3, 2),
    "tree items": tree(4, 1, 2),
    "tree samples": tree(4, 1, samples=2),
    "tree of six": tree(6, 1),
    "tree of two": tree(2, 3),
}
EVERY_CASE = pytest.mark.parametrize("name", CASES)


def listed(case: Case) -> Tensor:
    """Return every z of one item, [states, *event]."""
    family, params = case.family, case.params
    return family.enumerate(params, torch.arange(family.states(params)))


def by_item(case: Case) -> Tensor:
    return case.params.reshape(-1, case.params.shape[-1])


def log_q_by_hand(case: Case, params: np.ndarray) -> np.ndarray:
    """Return log q of every state of one item in the order of ``listed``."""
    z = listed(case).numpy()
    if case.family.name == "markov_chain":
        return np.array([log_q_of_path(params, case.shape, path) for path in z])
    known = {tuple(uses[: z[0].size]): uses @ params for uses in trees.trees(*case.shape)}
    assert len(known) == len(z)
    score = np.array([known[tuple(each.ravel())] for each in z])
    return score - math.log(sum(math.exp(x) for x in score))


def log_q_of_path(params: np.ndarray, states: tuple[int, ...], path: np.ndarray) -> float:
    shared = len(params) < chain_size(states, shared=False)
    visited = [int(step.argmax()) for step in path]
    assert [sum(step) for step in path] == [1] * len(states)
    rows = [params[: states[0]]]
    table = states[0]  # where the table of the next move begins
    for t, (here, there) in enumerate(itertools.pairwise(states)):
        row = table + visited[t] * there
        rows.append(params[row : row + there])
        table += 0 if shared else here * there
    return sum(
        row[k] - math.log(sum(math.exp(x) for x in row))
        for row, k in zip(rows, visited, strict=True)
    )


class TestLaw:
    @EVERY_CASE
    def test_log_prob_by_hand(self, name):
        case = CASES[name]
        z = listed(case)
        for params in by_item(case):
            found = case.family.log_prob(params, z[:, None])[:, 0].numpy()
            expected = log_q_by_hand(case, params.numpy())
            np.testing.assert_allclose(found, expected, rtol=1e-12)
            assert np.exp(expected).sum() == pytest.approx(1, rel=1e-12)
            wrong = log_q_by_hand(case, np.append(params[1:], params[:1]))
            assert np.abs(wrong - found).max() > 1e-3

    @EVERY_CASE
    def test_states_are_distinct_and_come_in_any_order(self, name):
        family, params = CASES[name].family, CASES[name].params
        every = listed(CASES[name])
        assert len({tuple(z.flatten().tolist()) for z in every}) == family.states(params)
        index = torch.tensor([1, 0, 1, family.states(params) - 1])
        assert torch.equal(family.enumerate(params, index), every[index])

    @EVERY_CASE
    def test_score_is_the_derivative_of_log_prob(self, name):
        case = CASES[name]
        z = case.family.sample(case.params, 30, 2, noise_of("score", name))
        leaf = case.params.expand(30, 2, *case.params.shape).clone().requires_grad_()
        (expected,) = torch.autograd.grad(case.family.log_prob(leaf, z).sum(), leaf)
        found = case.family.score(case.params, z)
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
        assert draws_last(found).is_contiguous()

    @EVERY_CASE
    def test_mean_by_enumeration(self, name):
        case = CASES[name]
        means = case.family.mean(case.params)
        means = means.reshape(-1, *means.shape[-2:])
        for params, mean in zip(by_item(case), means, strict=True):
            weight = np.exp(log_q_by_hand(case, params.numpy()))
            expected = np.einsum("s,s...->...", weight, listed(case).numpy())
            np.testing.assert_allclose(mean.numpy(), expected, rtol=1e-12, atol=1e-14)

    @EVERY_CASE
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["32", "64"])
    def test_samples_are_states_laid_out_draws_last(self, name, dtype):
        family, params = CASES[name].family, CASES[name].params
        z = family.sample(params.to(dtype), 7, 3, noise_of("shape", dtype=dtype))
        assert z.dtype == dtype
        assert draws_last(z).is_contiguous()
        assert z.shape == (7, 3, *family.mean(params).shape)
        known = {tuple(state.flatten().tolist()) for state in listed(CASES[name])}
        assert {tuple(one.tolist()) for one in z.flatten(-2).flatten(0, -2)} <= known

    @EVERY_CASE
    def test_quantile_at_params_of_every_draw(self, name):
        """The same as drawing each at its own params; one copy for all is the plain sample."""
        case = CASES[name]
        lead = (5, 2)
        u = noise_of("quantile", name).uniform(*lead, *case.family.uniforms(case.params))
        moves = 2 * noise_of("moves", name).normal(*lead, *case.params.shape)
        many = case.params + moves
        z = case.family.quantile(many, u)
        log_q = case.family.log_prob(many, z)
        for i, j in itertools.product(*map(range, lead)):
            one = case.family.quantile(many[i, j], u[i : i + 1, j : j + 1])
            assert torch.equal(z[i, j], one[0, 0])
            torch.testing.assert_close(log_q[i, j], case.family.log_prob(many[i, j], one)[0, 0])
        shared = case.family.quantile(case.params[None, None], u)
        assert torch.equal(shared, case.family.quantile(case.params, u))
        assert not torch.equal(shared, z)

    @pytest.mark.parametrize("name", ["chain items", "tree items"])
    def test_items_do_not_mix(self, name):
        case = CASES[name]
        u = noise_of("items").uniform(50, 2, *case.family.uniforms(case.params))
        both = case.family.quantile(case.params, u)
        for item in range(2):
            alone = case.family.quantile(case.params[item], u[:, :, item])
            assert torch.equal(both[:, :, item], alone)
            for function in (case.family.log_prob, case.family.score):
                torch.testing.assert_close(
                    function(case.params, both)[:, :, item], function(case.params[item], alone)
                )

    @pytest.mark.parametrize("name", ["chain uneven", "tree", "tree items"])
    def test_particles_of_it(self, name):
        """Two copies taken together: probabilities multiply and scores add up."""
        case = CASES[name]
        pair = particles(case.family, 2)
        z = pair.sample(case.params, 6, 3, noise_of("pair"))
        axis = 2 + len(case.family.items(case.params))
        one, two = z.unbind(axis)
        for function, of_pair in (
            (case.family.log_prob, pair.log_prob),
            (case.family.score, pair.score),
        ):
            expected = function(case.params, one) + function(case.params, two)
            torch.testing.assert_close(of_pair(case.params, z), expected)
        u = noise_of("pair").uniform(6, 3, *pair.uniforms(case.params))
        assert torch.equal(pair.quantile(case.params, u), z)


def p_value(case: Case, z: Tensor) -> float:
    """Return the chi-square p-value of z against the joint law of all samples and items."""
    states, joint = listed(case).flatten(1), np.ones(1)
    code = torch.zeros(len(z), dtype=torch.int64)
    cells = z.flatten(-2).reshape(len(z), -1, states.shape[1])  # [draws, samples * items, event]
    shares = [np.exp(log_q_by_hand(case, params.numpy())) for params in by_item(case)]
    for place in range(cells.shape[1]):
        joint = np.multiply.outer(joint, shares[place % len(shares)]).ravel()
        code = code * len(states) + (cells[:, place, None] == states).all(-1).long().argmax(1)
    expected = joint * len(z)
    assert expected.min() > 5, "too few draws for a chi-square table"
    counts = torch.bincount(code, minlength=len(expected)).numpy()
    return float(scipy.stats.chisquare(counts, expected).pvalue)


class TestFrequencies:
    @EVERY_CASE
    def test_they_are_the_joint_probabilities(self, name):
        case = CASES[name]
        z = case.family.sample(case.params, COUNT, case.samples, noise_of("sample", name))
        assert p_value(case, z) > FALSE_ALARM

    @EVERY_CASE
    def test_wrong_params_are_seen(self, name):
        case = CASES[name]
        wrong = case.params.clone()
        # With one label, leaves are alike in every tree: the first span of two leaves is not.
        alone = case.family.name == "binary_tree" and case.shape[1] == 1
        wrong[..., case.shape[0] if alone else 0] += 0.2
        z = case.family.sample(wrong, COUNT, case.samples, noise_of("sample", name))
        assert p_value(case, z) < FALSE_ALARM / 10

    @pytest.mark.parametrize("name", ["chain uneven", "tree samples"])
    def test_a_shared_sample_is_seen(self, name):
        case = CASES[name]
        z = case.family.sample(case.params, COUNT, 2, noise_of("sample", name))
        assert p_value(case, z[:, :1].expand_as(z)) < FALSE_ALARM / 10

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["32", "64"])
    @pytest.mark.parametrize("name", ["chain shared", "tree"])
    def test_extreme_logits_stay_on_the_likeliest(self, name, dtype):
        """Where one state holds all but 1e-9, no draw leaves it, however u rounds."""
        case = CASES[name]
        best = listed(case)[7]
        params = 60 * case.family.score(torch.zeros_like(case.params), best[None, None])[0, 0]
        assert case.family.log_prob(params, best[None]) > -1e-9
        z = case.family.sample(params.to(dtype), 2000, 1, noise_of("extreme", dtype=dtype))
        assert (z == best).all()


# Objectives.

SMALL = [
    ("markov_chain", {"steps": 5, "categories": 3}),
    ("markov_chain", {"steps": 5, "categories": 3, "shared": False, "seed": 2}),
    ("binary_tree", {"leaves": 5, "labels": 2}),
    ("hidden_markov", {"steps": 5, "categories": 3}),
    ("pcfg", {"leaves": 5, "labels": 2, "distance": 2.0}),
]
TINY = [
    ("markov_chain", {"steps": 3, "categories": 3}),
    ("markov_chain", {"steps": 3, "categories": 2, "shared": False}),
    ("binary_tree", {"leaves": 3}),
    ("binary_tree", {"leaves": 5, "labels": 1}),
    ("hidden_markov", {"steps": 3, "categories": 3}),
    ("pcfg", {"leaves": 3}),
]
LARGE = [
    ("markov_chain", {"steps": 100, "categories": 10}),
    ("markov_chain", {"steps": 100, "categories": 10, "shared": False}),
    ("hidden_markov", {"steps": 100, "categories": 10}),
    ("binary_tree", {"leaves": 20, "labels": 2}),
    ("pcfg", {"leaves": 20, "labels": 2}),
]


def label(case: object) -> str:
    return str(case).replace(" ", "")


def by_hand(name: str, settings: dict[str, object], problem: Objective) -> np.ndarray:
    """Return the value and then the gradient, by sums over a list of every z."""
    if name == "markov_chain":
        shared = bool(settings.get("shared", True))
        return paths.value_and_gradient(problem, 5, 3, shared)
    if name == "hidden_markov":
        found = paths.value_and_gradient(problem, 5, 3, False)
        value = paths.bound(hidden_markov.model(5), problem.params.numpy())
    else:
        found = trees.value_and_gradient(problem, 5, 2)
        if name == "binary_tree":
            return found
        value = trees.bound(pcfg.model(5), problem.params.numpy())
    assert found[0] == pytest.approx(value, rel=1e-12)  # J is log q - log p
    return found


def both(problem: Objective) -> np.ndarray:
    return np.append(float(problem.exact_value()), problem.exact_gradient().numpy())


class TestSmall:
    @pytest.mark.parametrize("case", SMALL, ids=label)
    def test_value_and_gradient_by_hand(self, case):
        """Of direct costs too: the direct term, E[d log q], is 0."""
        problem = build_objective(case[0], **case[1])
        found, expected = both(problem), by_hand(*case, problem)
        worst = np.abs(found - expected).max() / np.abs(expected).max()
        print(f"{case}: largest relative difference from the list {worst:.1e}")
        assert worst < 1e-12
        enumerated = marginalize(problem, problem.params)
        np.testing.assert_allclose(float(enumerated[0]), expected[0], rtol=1e-12)

    @pytest.mark.parametrize("case", SMALL[:2], ids=label)
    def test_the_cost_of_a_chain_is_a_sum_over_steps_and_moves(self, case):
        problem = build_objective(case[0], **case[1])
        hot = np.eye(3)[paths.paths(5, 3)]
        moves = np.einsum("nta,ntb->ntab", hot[:, :-1], hot[:, 1:])
        parts = np.hstack([hot.reshape(len(hot), -1), moves.reshape(len(hot), -1)])
        cost = problem.cost(torch.from_numpy(hot)[:, None], problem.params)[:, 0].numpy()
        assert least_squares_error(parts, cost) < 1e-12
        assert least_squares_error(hot.reshape(len(hot), -1), cost) > 0.1  # moves matter

    def test_the_cost_of_a_tree_is_a_sum_over_spans_and_rules(self):
        problem = build_objective("binary_tree", leaves=5)
        uses = trees.trees(5, 2)
        z = torch.from_numpy(uses[:, :30]).reshape(-1, 1, 15, 2)
        cost = problem.cost(z, problem.params)[:, 0].numpy()
        assert least_squares_error(uses, cost) < 1e-12
        assert least_squares_error(uses[:, :30], cost) > 0.1

    def test_a_turned_table_of_moves_is_caught(self, monkeypatch):
        problem = build_objective("markov_chain", steps=5)
        expected = paths.value_and_gradient(problem, 5, 3, True)
        right = _additive_chain.expectation
        monkeypatch.setattr(
            "benchbed.objectives.markov_chain.expectation",
            lambda parts, unary, pairs: right(parts, unary, [table.mT for table in pairs]),
        )
        assert np.abs(both(problem) - expected).max() > 1e-2 * np.abs(expected).max()

    @pytest.mark.parametrize("fault", ["children swapped", "top span left out"])
    def test_a_faulty_inside_algorithm_is_caught(self, monkeypatch, fault):
        problem = build_objective("binary_tree", leaves=5)
        expected = trees.value_and_gradient(problem, 5, 2)
        right = tree_objective.expectations

        def wrong(params: Tensor, leaves: int, labels: int) -> Tensor:
            found = right(params, leaves, labels)
            rules = found[-8:].reshape(2, 2, 2)
            if fault == "children swapped":
                return torch.cat((found[:-8], rules.mT.flatten()))
            return torch.cat((found[:28], torch.zeros(2), found[30:]))

        monkeypatch.setattr(tree_objective, "expectations", wrong)
        assert np.abs(both(problem) - expected).max() > 1e-2 * np.abs(expected).max()

    def test_trees_are_counted_by_the_inside_algorithm(self):
        """Catalan(n - 1), and the weight of every span's trees when one is scored apart."""
        for leaves in range(2, 9):
            zero = torch.zeros(tree_size(leaves, 1), dtype=torch.float64)
            counted = log_partition(zero, leaves, 1).exp()
            assert float(counted) == pytest.approx(catalan(leaves - 1), rel=1e-12)
            assert sum(1 for _ in trees.bracketings(0, leaves)) == catalan(leaves - 1)


def least_squares_error(parts: np.ndarray, cost: np.ndarray) -> float:
    fitted = parts @ np.linalg.lstsq(parts, cost, rcond=None)[0]
    return float(np.abs(fitted - cost).max())


class TestLarge:
    @pytest.mark.parametrize("case", LARGE, ids=label)
    def test_exact_in_a_second_and_by_central_differences(self, case):
        before = time.perf_counter()
        problem = build_objective(case[0], **case[1])
        value, gradient = problem.exact_value(), problem.exact_gradient()
        spent = time.perf_counter() - before
        count = problem.family.states(problem.params)
        worst, fault = 0.0, 0.0
        for number in range(4):
            way = noise_of("direction", number).normal(*problem.params.shape)
            way /= way.norm()
            ends = [problem.exact_value(problem.params + s * 1e-4 * way) for s in (1, -1)]
            slope = float(gradient @ way)
            scale = max(abs(slope), float(gradient.norm()) / len(gradient) ** 0.5)
            found = float(ends[0] - ends[1]) / 2e-4
            worst = max(worst, abs(found - slope) / scale)
            fault = max(fault, abs(found - 1.001 * slope) / scale)
        print(
            f"{case}: {len(gradient):,} parameters, 10^{math.log10(count):.1f} states, value "
            f"{float(value):.6f}, |gradient| {float(gradient.norm()):.6f}, {spent:.3f} s; central "
            f"differences within {worst:.1e}"
        )
        assert spent < 1
        assert worst < 1e-6 < fault

    @pytest.mark.parametrize("case", LARGE, ids=label)
    def test_listing_all_states_is_refused_in_one_line(self, case):
        problem = build_objective(case[0], **case[1])
        for name in ("unordered_set", "sum_and_sample", "rao_blackwell_score_function"):
            with pytest.raises(BadArgument, match=r"at most 4,096 can be listed") as caught:
                build_estimator(name).draw(problem, problem.params, 4, noise_of("refused"))
            assert "\n" not in str(caught.value)
        with pytest.raises(BadArgument, match=r"more than the 4,194,304") as caught:
            marginalize(problem, problem.params)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 150  # 10^100 is not written out

    def test_counts_are_written_for_people(self):
        assert written(4_194_304) == "4,194,304"
        assert written(10**15) == "1,000,000,000,000,000"
        assert written(16 * 10**59) == "1.6e+60"
        assert written(10**5000) == "1.0e+5000"  # more digits than int prints, or float holds

    def test_the_direct_term_of_a_long_chain_takes_time_linear_in_its_steps(self):
        """Slices of flat params would fill T zeros of n numbers each: 8 s here."""
        problem = build_objective("hidden_markov", steps=1000, categories=10)
        z = problem.family.sample(problem.params, 16, 2, noise_of("long"))
        before = time.perf_counter()
        direct = problem.evaluate(z, problem.params).direct
        assert time.perf_counter() - before < 2
        assert direct.shape == (16, 2, *problem.params.shape)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["32", "64"])
    @pytest.mark.parametrize("size", [1.0, 1e4, 1e8])
    def test_large_scores_lose_no_spans(self, dtype, size):
        """Every tree of 6 leaves has 11 spans and 5 rules, whatever the scores."""
        params = size * noise_of("scores").normal(tree_size(6, 2)).to(dtype)
        spans = expectations(params, 6, 2)
        assert float(spans[:42].sum()) == pytest.approx(11, rel=20 * torch.finfo(dtype).eps)
        assert float(spans[42:].sum()) == pytest.approx(5, rel=20 * torch.finfo(dtype).eps)

    @pytest.mark.parametrize("case", [LARGE[0], LARGE[3]], ids=label)
    @pytest.mark.parametrize(
        ("name", "settings"),
        [
            ("score_function", {}),
            ("constant_baseline", {"kind": "optimal"}),
            ("moving_average_baseline", {"steps": 50}),
            ("leave_one_out", {"samples": 4}),
            ("nvil", {}),
            ("optimal_baseline_regression", {"pilot": 64}),
            ("antithetic_score_function", {}),
            ("quasi_monte_carlo_score_function", {"samples": 8}),
            ("spsa", {}),
            ("evolution_strategies", {}),
        ],
    )
    def test_estimators_run(self, case, name, settings):
        problem = build_objective(case[0], **case[1])
        method = build_estimator(name, **settings)
        params = problem.params.float()
        if method.tune:
            method = method.tune(problem, params, noise_of("tune", dtype=torch.float32))
        rows = method.draw(problem, params, 32, noise_of("rows", dtype=torch.float32))
        assert rows.shape == (32, *problem.params.shape)
        assert torch.isfinite(rows).all()
        assert rows.std(0).max() > 0

    @pytest.mark.parametrize(
        ("case", "samples", "seen"),
        [
            (LARGE[0], 32, 0.17),  # 4096 draws see no less: J is a sum of 199 numbers
            (("binary_tree", {"leaves": 20, "labels": 2, "spread": 0.5}), 24, SHRINK),
        ],
        ids=label,
    )
    def test_no_bias_is_seen_in_4096_draws_and_a_planted_one_is(self, case, samples, seen):
        problem = build_objective(case[0], **case[1])
        method = build_estimator("leave_one_out", samples=samples)
        found = verdict(problem, method, 4096)
        print(f"leave_one_out({samples}) on {case}: {found.one_line()}")
        # A screen that raises its hand by chance is followed by 16 times the draws, which see more.
        assert found.outcome == ("unbiased" if found.visible <= SHRINK else "insensitive")
        assert found.visible < seen
        score = {"markov_chain": counts_alone, "binary_tree": children_swapped}[case[0]]
        family = replace(problem.family, score=partial(score, problem.family))
        cells = {"cell": blocks_of(replace(problem, family=family), method, 1024, SEED)}
        faulty = judge(
            cells, lambda _: blocks_of(replace(problem, family=family), method, 1024, SEED + 1)
        )["cell"]
        print(f"with a faulty score: {faulty.one_line()}")
        assert faulty.outcome == "biased"


def counts_alone(family: Family, params: Tensor, z: Tensor) -> Tensor:
    """Return a chain's score without the moves that were expected from where z was."""
    right = family.score(params, z)
    moves = torch.einsum("dsta,dstb->dsab", z[..., :-1, :], z[..., 1:, :])
    return torch.cat((right[..., :10], moves.flatten(-2)), -1)


def children_swapped(family: Family, params: Tensor, z: Tensor) -> Tensor:
    """Return a tree's score with A -> B C taken for A -> C B."""
    right = family.score(params, z)
    rules = torch.unflatten(right[..., -8:], -1, (2, 2, 2)).mT.flatten(-3)
    return torch.cat((right[..., :-8], rules), -1)


def verdict(problem: Objective, method: Estimator, draws: int) -> Verdict:
    cells = {"cell": blocks_of(problem, method, draws, SEED)}
    return judge(cells, lambda _: fresh_blocks(problem, method, draws, SEED))["cell"]


FINITE = [
    ("score_function", {}),
    ("score_function", {"samples": 3}),
    ("leave_one_out", {"samples": 2}),
    ("constant_baseline", {}),
    ("moving_average_baseline", {"steps": 50}),
    ("unordered_set", {"samples": 2}),
    ("unordered_set", {"samples": 3, "baseline": False}),
    ("sum_and_sample", {"samples": 2}),
    ("rao_blackwell_score_function", {"top": 2}),
]


def tuned(problem: Objective, name: str, settings: dict[str, object]) -> Estimator:
    method = build_estimator(name, **settings)
    if method.tune is None:
        return method
    return method.tune(problem, problem.params, noise_of("tune"))


class TestEstimators:
    @pytest.mark.parametrize(("name", "settings"), FINITE, ids=label)
    @pytest.mark.parametrize("case", TINY, ids=label)
    def test_the_exact_mean_is_the_exact_gradient(self, case, name, settings):
        problem = build_objective(case[0], **case[1])
        found = exact_moments(problem, tuned(problem, name, settings))
        expected = problem.exact_gradient().numpy()
        error = np.abs(found.mean - expected).max() / np.abs(expected).max()
        assert error < 1e-9
        assert found.variance.sum() > 0

    @pytest.mark.parametrize("case", TINY, ids=label)
    def test_a_faulty_score_or_a_lost_direct_term_is_caught(self, case):
        """A score of reversed params has mean 0 nowhere; J + params shows the direct term."""
        problem = build_objective(case[0], **case[1])
        plain = problem.family.score
        family = replace(problem.family, score=lambda p, z: plain(p.flip(-1), z))
        found = exact_moments(replace(problem, family=family), build_estimator("score_function"))
        expected = problem.exact_gradient().numpy()
        assert np.abs(found.mean - expected).max() > 1e-2 * np.abs(expected).max()
        if problem.direct:
            untold = replace(
                problem, cost=lambda z, p: problem.cost(z, p) + p.square().sum(-1), direct=False
            )
            told = replace(untold, direct=True)
            for given, right in ((told, True), (untold, False)):
                mean = exact_moments(given, build_estimator("leave_one_out")).mean
                whole = expected + 2 * problem.params.numpy()
                assert np.allclose(mean, whole, rtol=1e-9, atol=1e-9) == right


POSTERIORS = [
    ("hidden_markov", {"steps": 3, "categories": 3, "symbols": 2, "seed": 3}),
    ("pcfg", {"leaves": 3, "labels": 2, "seed": 1}),
]


def log_p_of(case: tuple[str, dict[str, int]]) -> tuple[float, np.ndarray]:
    """Return log p(x) and log p(z | x), over a list of every z, flat in the order of the lists."""
    if case[0] == "hidden_markov":
        _, joint = paths.joint(hidden_markov.model(**case[1]))
    else:
        _, joint = trees.joint(pcfg.model(**case[1]))
    log_p = float(np.logaddexp.reduce(joint))
    return log_p, joint - log_p


@pytest.mark.parametrize("case", POSTERIORS, ids=label)
class TestAtThePosterior:
    def test_the_bound_is_tight(self, case):
        problem = build_objective(case[0], **case[1], distance=0.0)
        log_p, given_x = log_p_of(case)
        assert float(problem.exact_value()) == pytest.approx(-log_p, rel=1e-13)
        assert (problem.exact_gradient() == 0).all()
        z = next(tuples(problem.family, problem.params, 1))
        cost = problem.cost(z, problem.params)
        torch.testing.assert_close(cost, torch.full_like(cost, -log_p), rtol=1e-12, atol=0)
        found = problem.family.log_prob(problem.params, z)[:, 0].numpy()
        np.testing.assert_allclose(np.sort(found), np.sort(given_x), rtol=1e-10)
        module = {"hidden_markov": hidden_markov, "pcfg": pcfg}[case[0]]
        assert float(module.log_marginal(module.model(**case[1]))) == pytest.approx(log_p)

    def test_it_is_looser_further_away(self, case):
        values = [
            float(build_objective(case[0], **case[1], distance=far).exact_value())
            for far in (0.0, 0.5, 1.0, 2.0)
        ]
        assert values == sorted(values)
        assert values[1] > values[0] + 1e-4

    @pytest.mark.parametrize(("name", "settings"), FINITE, ids=label)
    def test_every_estimator_is_right_at_a_gradient_of_zero(self, case, name, settings):
        problem = build_objective(case[0], **case[1], distance=0.0)
        found = exact_moments(problem, tuned(problem, name, settings))
        assert np.abs(found.mean).max() < 1e-12
        print(f"{name} {settings} on {case}: variance {found.variance.sum():.4g} at the posterior")
        assert found.variance.sum() > 1e-3

    def test_what_leave_one_out_keeps_is_the_direct_term(self, case):
        """All costs are equal there: the mean of the scores is left, and its variance."""
        problem = build_objective(case[0], **case[1], distance=0.0)
        rows = build_estimator("leave_one_out", samples=4).draw(
            problem, problem.params, 16, noise_of("posterior")
        )
        z = problem.family.sample(problem.params, 16, 4, noise_of("posterior"))
        expected = problem.family.score(problem.params, z).mean(1)
        torch.testing.assert_close(rows, expected, rtol=1e-9, atol=1e-12)


class TestRefused:
    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (lambda: markov_chain((3, 2), shared=True), r"cannot share one table between \[3, 2\]"),
            (lambda: markov_chain(()), "number of steps >= 1, got 0"),
            (lambda: markov_chain((3, 0)), "number of states >= 1, got 0"),
            (lambda: markov_chain((3, 3), shared=1), "true or false, got 1"),
            (lambda: binary_tree(1, 2), "number of leaves >= 2, got 1"),
            (lambda: binary_tree(3, 0), "number of labels >= 1, got 0"),
            (lambda: CASES["tree"].family.score(torch.zeros(3), torch.ones(2, 1, 6, 2)), "has 20"),
            (lambda: CASES["chain shared"].family.mean(torch.zeros(3)), "has 12 parameters"),
            (
                lambda: binary_tree(13, 1).enumerate(torch.zeros(92), torch.arange(2)),
                "208,012 bracketings.*use 12 leaves or fewer",
            ),
            *(
                (partial(case.family.path, case.params, 2, 1, 1.0, Noise(0)), "leave_one_out")
                for case in (CASES["tree"], CASES["chain shared"])
            ),
            *(
                (partial(build_objective, name, **settings), said)
                for name, settings, said in [
                    ("markov_chain", {"steps": 1}, "steps >= 2, got 1"),
                    ("markov_chain", {"categories": 1}, "categories >= 2, got 1"),
                    ("markov_chain", {"seed": -1}, "seed >= 0, got -1"),
                    ("markov_chain", {"shared": 1}, "true or false"),
                    ("markov_chain", {"spread": math.inf}, "finite number, got inf"),
                    ("hidden_markov", {"steps": 1}, "steps >= 2, got 1"),
                    ("hidden_markov", {"categories": 1}, "categories >= 2"),
                    ("hidden_markov", {"symbols": 1}, "symbols >= 2"),
                    ("hidden_markov", {"distance": -1.0}, "0 is the posterior"),
                    ("hidden_markov", {"distance": math.nan}, "0 is the posterior"),
                    ("binary_tree", {"leaves": 1}, "leaves >= 2, got 1"),
                    ("binary_tree", {"leaves": 2, "labels": 1}, "one tree alone; use 3 leaves"),
                    ("binary_tree", {"labels": 0}, "labels >= 1"),
                    ("binary_tree", {"spread": math.nan}, "finite number"),
                    ("pcfg", {"leaves": 2, "labels": 1}, "one tree alone; use 3 leaves"),
                    ("pcfg", {"symbols": 1}, "symbols >= 2"),
                    ("pcfg", {"distance": math.inf}, "0 is the posterior"),
                ]
            ),
        ],
    )
    def test_in_one_line(self, make, said):
        with pytest.raises(BadArgument, match=said) as caught:
            make()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 200

    @pytest.mark.parametrize(
        ("name", "settings", "said"),
        [
            ("markov_chain", {"steps": 10**6}, "got steps 1,000,000; use 10,000 or fewer"),
            ("markov_chain", {"categories": 10**5}, "use fewer steps or categories"),
            ("hidden_markov", {"steps": 10**5}, "use 10,000 or fewer"),
            ("hidden_markov", {"categories": 10**5}, "use fewer steps or categories"),
            ("hidden_markov", {"symbols": 10**9}, "use fewer categories or symbols"),
            ("binary_tree", {"leaves": 300}, "35,999,600 numbers.*use fewer leaves or labels"),
            ("binary_tree", {"leaves": 10**200}, r"1\.3e\+600 numbers"),
            ("pcfg", {"leaves": 10**5}, "use fewer leaves or labels"),
            ("pcfg", {"labels": 1000}, "use fewer leaves or labels"),
            ("pcfg", {"symbols": 10**9}, "use fewer labels or symbols"),
        ],
    )
    def test_what_does_not_fit_before_anything_is_made(self, name, settings, said):
        before = time.perf_counter()
        with pytest.raises(BadArgument, match=said) as caught:
            build_objective(name, **settings)
        assert time.perf_counter() - before < 0.1
        assert "\n" not in str(caught.value)
        assert "cannot be built" not in str(caught.value)  # as after a MemoryError

    @pytest.mark.parametrize("where", ["markov_chain", "binary_tree"])
    @pytest.mark.parametrize("name", ["straight_through", "gumbel_softmax", "rebar", "reinmax"])
    def test_relaxations_do_not_fit(self, where, name):
        problem = build_objective(where)
        with pytest.raises(IncompatiblePair, match=f"cannot work on {where}"):
            blocks_of(problem, build_estimator(name), 128, SEED)
