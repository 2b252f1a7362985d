"""Bounds and likelihoods against plain numpy: closed forms, terms, EM and rate-distortion curves.

The numpy side, ``facts/_listed_models.py``, lists every z and differentiates by complex steps; it
shares the models' numbers and no computation. Everything here is deterministic.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchbed.catalogue import build_estimator, build_objective
from benchbed.enumeration import tuples
from benchbed.errors import BadArgument
from benchbed.facts._listed_models import (
    blahut,
    em_by_hand,
    five_forms,
    five_slopes,
    kl,
    listed,
    mixture_likelihood,
    slopes,
)
from benchbed.measurement.exact_moments import exact_moments
from benchbed.objectives._discrete_model import PIXELS, discrete_model, encoder_point
from benchbed.objectives._elbo_terms import bound
from benchbed.objectives.elbo import FORMS, SPLIT, terms_of
from benchbed.objectives.expectation_maximization import Mixture, likelihood_trace, maximized
from benchbed.objectives.rate_distortion import (
    alternated,
    curve,
    rate_and_distortion,
    rate_distortion,
)
from benchbed.rng import Noise

BITS = {"latents": "bernoulli", "data": 2, "dimensions": 2, "categories": 2, "seed": 3}
CATEGORIES = {"latents": "categorical", "data": 2, "dimensions": 2, "categories": 3, "seed": 4}
CHANNEL = {"latents": "categorical", "data": 6, "dimensions": 1, "categories": 3, "seed": 2}
MULTIPLIERS = (0.2, 0.5, 1.0, 1.5)
EACH_LATENT = pytest.mark.parametrize("toy", [BITS, CATEGORIES], ids=["bits", "categories"])
ONE_EACH = {"mutual_information": 1.0, "total_correlation": 1.0, "dimension_wise": 1.0}


def names_of(form: str) -> list[str]:
    return ["sampled", "exact", "all", *FORMS[form], *(SPLIT if form == "dvae" else ())]


EVERY = [(form, terms) for form in FORMS for terms in names_of(form)]


def gap(found: Any, expected: Any) -> float:
    """Return the largest difference over the largest of what was expected."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def moved(params: Tensor) -> Tensor:
    return params + 0.4 * Noise(5, "moved", dtype=torch.float64).normal(*params.shape)


@cache
def expected_gradient(latents: str) -> np.ndarray:
    """Return the gradient off the point, by complex steps through the first form."""
    toy = BITS if latents == "bernoulli" else CATEGORIES
    params = moved(build_objective("elbo", **toy).params)
    found = five_slopes(listed(**toy), params.numpy())
    assert gap(found, np.tile(found[:1], (5, *[1] * params.ndim))) < 1e-12
    return found[0]


@EACH_LATENT
class TestElbo:
    @pytest.mark.parametrize(("form", "terms"), EVERY)
    def test_one_gradient_whatever_the_form_and_the_terms(self, toy, form, terms):
        problem = build_objective("elbo", form=form, terms=terms, **toy)
        params = moved(problem.params)
        assert gap(problem.exact_gradient(params), expected_gradient(toy["latents"])) < 1e-10
        expected = five_forms(listed(**toy), np.stack([params, problem.params])[0])[0]
        at_the_point = five_forms(listed(**toy), problem.params.numpy())[0]
        risen = float(problem.exact_value(params) - problem.exact_value())
        assert risen == pytest.approx(expected - at_the_point, rel=1e-9)
        reading = build_objective("elbo", terms="sampled", **toy)
        assert torch.equal(reading.params, problem.params)
        assert float(reading.exact_value(params)) == pytest.approx(expected, rel=1e-12)
        if terms == "sampled":
            assert float(problem.exact_value(params)) == pytest.approx(expected, rel=1e-12)
        if terms == "all":
            assert abs(float(problem.exact_value())) < 1e-14

    @pytest.mark.parametrize("form", FORMS)
    def test_a_wrong_sign_or_a_dropped_logarithm_shows(self, toy, form):
        model = discrete_model("elbo", **toy)
        params = encoder_point("elbo", model, 1.0, 1.0, toy["seed"])
        right = terms_of("elbo", form, "exact", ONE_EACH)
        for i, term in enumerate(right):
            for part in term.parts:
                if part == "evidence":  # a constant: no gradient of it
                    continue
                for sign in (0, -term.parts[part]):
                    wrong = [*right]
                    wrong[i] = term._replace(parts={**term.parts, part: sign})
                    off = bound("elbo", model, wrong, params, "").exact_gradient(moved(params))
                    assert gap(off, expected_gradient(toy["latents"])) > 1e-2

    def test_sampled_the_five_are_one_function(self, toy):
        """At every joint z and off the corners, values and direct terms alike."""
        problems = [build_objective("elbo", form=form, terms="sampled", **toy) for form in FORMS]
        first = problems[0]
        every = next(tuples(first.family, first.params, together=1))
        noise = Noise(6, "inside", dtype=torch.float64)
        soft = first.family.path(first.params, 40, 2, 0.7, noise).soft
        for z in (every, soft):
            wanted = first.evaluate(z, first.params, slope=True)
            for other in problems[1:]:
                found = other.evaluate(z, other.params, slope=True)
                for a, b in zip(found, wanted, strict=True):
                    assert gap(a, b) < 1e-10

    def test_drawn_with_the_same_noise_the_five_give_the_same_rows(self, toy):
        methods = ["score_function", "leave_one_out", "reinmax", "straight_through_gumbel_softmax"]
        for name in [*methods, *(["disarm", "rebar"] if toy is BITS else [])]:
            rows = {}
            for form, terms in (*((form, "sampled") for form in FORMS), ("vae", "exact")):
                problem = build_objective("elbo", form=form, terms=terms, **toy)
                noise = Noise(7, "draw", dtype=torch.float64)
                method = build_estimator(name, samples=2)
                rows[form, terms] = method.draw(problem, problem.params, 50, noise)
            for form in FORMS:
                assert gap(rows[form, "sampled"], rows["em", "sampled"]) < 1e-10
            assert gap(rows["vae", "exact"], rows["em", "sampled"]) > 1e-2

    @pytest.mark.parametrize(("form", "terms"), EVERY)
    def test_estimators_by_their_exact_moments(self, toy, form, terms):
        problem = build_objective("elbo", form=form, terms=terms, **toy)
        wanted = problem.exact_gradient().flatten()
        for name in ("score_function", "leave_one_out", "unordered_set"):
            if name != "score_function" and (toy is CATEGORIES or terms not in ("exact", "all")):
                continue  # pairs of 81 states; pairs of the other terms say no more
            samples = 1 if name == "score_function" else 2
            found = exact_moments(problem, build_estimator(name, samples=samples))
            assert gap(found.mean, wanted) < 1e-9
            if terms == "all" or (form, terms) == ("em", "exact"):
                assert found.variance.max() < 1e-26
            else:
                assert found.variance.max() > 1e-4

    def test_without_the_direct_term_closed_forms_are_lost(self, toy):
        problem = build_objective("elbo", form="dvae", terms="marginal_kl", **toy)
        found = exact_moments(replace(problem, direct=False), build_estimator("score_function"))
        assert gap(found.mean, problem.exact_gradient().flatten()) > 1e-2

    def test_weights_on_the_three_parts(self, toy):
        """Value and gradient of beta-VAE and of three unequal weights, from tables in numpy."""
        model = listed(**toy)

        def negative(params: np.ndarray, mutual: float, total: float, own: float) -> Any:
            q = model.encoder(params)
            aggregate = q.mean(0)
            parts = model.marginals(aggregate)
            alone = sum((p * np.log(p)).sum() for p in parts)
            apart = sum((p * np.log(r)).sum() for p, r in zip(parts, model.prior, strict=True))
            joint = (aggregate * np.log(aggregate)).sum()
            rate = kl(q, aggregate).mean()
            distortion = -(q * np.log(model.likelihood)).sum(-1).mean()
            return distortion + mutual * rate + total * (joint - alone) + own * (alone - apart)

        for form, terms, weights in (
            ("vae", "sampled", (4.0, 4.0, 4.0)),
            ("dvae", "sampled", (4.0, 4.0, 4.0)),
            ("dvae", "sampled", (1.0, 6.0, 1.0)),
            ("dvae", "exact", (0.5, 3.0, 2.0)),
            ("dvae", "marginal_kl", (0.5, 3.0, 2.0)),
            ("dvae", "dimension_wise", (0.0, 2.0, 2.0)),
        ):
            given = dict(zip(ONE_EACH, weights, strict=True))
            problem = build_objective("elbo", form=form, terms=terms, **toy, **given)
            params = moved(problem.params).numpy()
            wanted = slopes(lambda at, w=weights: negative(at, *w), params)
            assert gap(problem.exact_gradient(torch.from_numpy(params)), wanted) < 1e-10
            if terms == "sampled":
                value = float(problem.exact_value(torch.from_numpy(params)))
                assert value == pytest.approx(negative(params, *weights), rel=1e-12)
            found = exact_moments(problem, build_estimator("score_function", samples=1))
            assert gap(found.mean, problem.exact_gradient().flatten()) < 1e-9

    def test_where_the_point_is(self, toy):
        model = listed(**toy)
        at_prior, fitted = (
            model.encoder(build_objective("elbo", **toy, fit=fit, distance=0.0).params.numpy())
            for fit in (0.0, 1.0)
        )
        assert gap(at_prior, np.stack([model.prior_table] * 2)) < 1e-12
        for q, posterior in zip(fitted, model.posterior, strict=True):
            for mine, exact in zip(model.marginals(q), model.marginals(posterior), strict=True):
                assert gap(mine, exact) < 1e-12
        near, far = (build_objective("elbo", **toy, distance=x).params for x in (0.0, 2.0))
        assert 0.3 < float((far - near).std()) < 2


@EACH_LATENT
class TestFromThePrior:
    def wanted(self, name: str, toy: dict[str, Any], params: Tensor, start: Tensor) -> Any:
        model = listed(**toy)
        frozen = model._replace(prior=model.factors(start.numpy())).evidence

        def value(logits: np.ndarray) -> Any:
            moved_model = model._replace(prior=model.factors(logits))
            if name == "log_marginal":
                return -(moved_model.evidence / frozen).mean()
            return -(moved_model.prior_table * np.log(model.likelihood)).sum(-1).mean()

        return value(params.numpy()), slopes(value, params.numpy())

    @pytest.mark.parametrize("name", ["log_marginal", "prior_bound"])
    def test_value_gradient_and_estimators(self, toy, name):
        problem = build_objective(name, **toy)
        for params in (problem.params, moved(problem.params)):
            value, gradient = self.wanted(name, toy, params, problem.params)
            assert float(problem.exact_value(params)) == pytest.approx(value, rel=1e-12)
            assert gap(problem.exact_gradient(params), gradient) < 1e-10
        for method in ("score_function", "leave_one_out", "unordered_set"):
            found = exact_moments(problem, build_estimator(method, samples=2))
            assert gap(found.mean, problem.exact_gradient().flatten()) < 1e-9

    def test_log_marginal_has_the_likelihoods_gradient_at_the_point_alone(self, toy):
        problem, model = build_objective("log_marginal", **toy), listed(**toy)

        def negative(logits: np.ndarray) -> Any:
            return -np.log(model._replace(prior=model.factors(logits)).evidence).mean()

        def apart(params: Tensor) -> float:
            return gap(problem.exact_gradient(params), slopes(negative, params.numpy()))

        assert apart(problem.params) < 1e-10
        assert apart(moved(problem.params)) > 1e-2
        assert float(problem.exact_value()) == pytest.approx(-1, rel=1e-14)

    def test_a_normalizer_that_is_left_out_shows(self, toy):
        problem, model = build_objective("log_marginal", **toy), listed(**toy)
        cost = problem.cost

        def unnormalized(z: Tensor, params: Tensor) -> Tensor:
            return cost(z, params) * float(model.evidence.mean())

        wrong = replace(problem, cost=unnormalized)
        found = exact_moments(wrong, build_estimator("score_function"))
        assert gap(found.mean, problem.exact_gradient().flatten()) > 1e-2

    def test_the_bound_is_one(self, toy):
        model = listed(**toy)
        loose = float(build_objective("prior_bound", **toy).exact_value())
        assert loose > -np.log(model.evidence).mean() + 0.1


def mixture_of(seed: int) -> tuple[Tensor, Mixture]:
    """Return 12 images and where EM starts."""
    noise = Noise(seed, "mixture", dtype=torch.float64)
    x = discrete_model("a test", "categorical", 12, 1, 3, seed).x
    means = 0.2 + 0.6 * noise.uniform(3, PIXELS)
    return x, Mixture(noise.normal(3).softmax(0), means)


class TestExpectationMaximization:
    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_fishers_identity(self, seed):
        problem = build_objective("expectation_maximization", seed=seed)
        x = discrete_model("a test", "categorical", 4, 1, 3, seed).x.numpy()

        def apart(params: Tensor) -> float:
            wanted = slopes(lambda at: -mixture_likelihood(x, at, 3), params.numpy())
            return gap(problem.exact_gradient(params), wanted)

        assert apart(problem.params) < 1e-10
        assert apart(moved(problem.params)) > 1e-2  # the posterior stays where it was

    def test_the_direct_term_is_all_there_is(self):
        problem = build_objective("expectation_maximization", data=3)
        wanted = problem.exact_gradient()
        for method in ("score_function", "leave_one_out", "unordered_set"):
            found = exact_moments(problem, build_estimator(method, samples=2))
            assert gap(found.mean, wanted) < 1e-9
            untold = replace(problem, direct=False)
            assert abs(exact_moments(untold, build_estimator(method, samples=2)).mean).max() < 1e-14

    @pytest.mark.parametrize("seed", range(6))
    def test_the_likelihood_rises_at_every_step(self, seed):
        x, start = mixture_of(seed)
        trace, end = likelihood_trace(x, start, 40)
        assert (trace.diff() > -1e-13).all()
        assert trace[-1] > trace[0] + 0.2
        by_hand = em_by_hand(x.numpy(), start.mixing.numpy(), start.means.numpy(), 40)
        assert gap(trace, by_hand) < 1e-12
        assert float(end.mixing.sum()) == pytest.approx(1, rel=1e-12)

    def test_a_component_that_takes_no_image_is_left_out(self):
        x, start = mixture_of(0)
        one = Mixture(torch.tensor([0.6, 0.4, 0.0]).double(), start.means)
        two = Mixture(one.mixing[:2], start.means[:2])
        trace, end = likelihood_trace(x, one, 10)
        assert gap(trace, likelihood_trace(x, two, 10)[0]) < 1e-14
        assert torch.isfinite(end.means).all()

    def test_a_wrong_m_step_lets_it_fall(self):
        def mislabelled(x: Tensor, responsibilities: Tensor) -> Mixture:
            """Give each component its neighbour's share."""
            right = maximized(x, responsibilities)
            return Mixture(right.mixing.roll(1), right.means)

        def blurred(x: Tensor, responsibilities: Tensor) -> Mixture:
            """Average a tenth of every image with no regard to the component."""
            right = maximized(x, responsibilities)
            return Mixture(right.mixing, 0.9 * right.means + 0.1 * x.mean(0))

        for wrong in (mislabelled, blurred):
            falls = []
            for seed in range(6):
                x, start = mixture_of(seed)
                trace, _ = likelihood_trace(x, start, 40, wrong)
                falls.append(float(trace.diff().min()))
            assert min(falls) < -1e-5, wrong.__doc__


class TestRateDistortion:
    def test_the_curve_is_blahuts(self):
        toy = listed(**CHANNEL)
        points = curve(MULTIPLIERS, **CHANNEL)
        for multiplier, point in zip(MULTIPLIERS, points, strict=True):
            q, normalizer = blahut(toy, multiplier)
            assert point.rate == pytest.approx(kl(q, q.mean(0)).mean(), rel=1e-9)
            cost = multiplier * point.rate + point.distortion
            assert cost == pytest.approx(-multiplier * np.log(normalizer).mean(), rel=1e-12)
        assert (np.diff([point.rate for point in points]) < -1e-3).all()
        assert (np.diff([point.distortion for point in points]) > 1e-3).all()

    def test_the_slope_of_the_curve_is_the_multiplier(self):
        """-dD/dR: between two near points it is the multiplier between them."""
        a, b = curve((0.99, 1.01), **CHANNEL)
        slope = (b.distortion - a.distortion) / (a.rate - b.rate)
        assert slope == pytest.approx(1, abs=2e-4)

    @pytest.mark.parametrize("multiplier", [0.3, 1.0, 2.0])
    def test_at_the_optimum_the_gradient_is_zero(self, multiplier):
        problem = build_objective(
            "rate_distortion", multiplier=multiplier, iterations=2000, **CHANNEL
        )
        terms = build_objective("rate_distortion", multiplier=0.0, **CHANNEL)
        pull = terms.exact_gradient(problem.params).norm()
        assert problem.exact_gradient().norm() < 1e-9 * max(float(pull), 1e-3)
        other = build_objective("rate_distortion", multiplier=1.1 * multiplier, **CHANNEL)
        assert other.exact_gradient(problem.params).norm() > 1e-2 * pull

    @EACH_LATENT
    def test_no_iteration_raises_the_cost(self, toy):
        model = discrete_model("a test", **{**toy, "data": 5})
        for multiplier in (0.3, 1.0, 3.0):
            at, costs = encoder_point("a test", model, 1.0, 2.0, 0), []
            for _ in range(12):
                rate, distortion = rate_and_distortion(model, at)
                costs.append(multiplier * rate + distortion)
                at = alternated(model, at, multiplier, 1)
            assert (np.diff(costs) < 1e-13).all()
            assert costs[-1] < costs[0] - 1e-2

    @EACH_LATENT
    @pytest.mark.parametrize("terms", ["sampled", "exact", "all", "mutual_information"])
    def test_value_gradient_and_estimators(self, toy, terms):
        model = listed(**toy)

        def cost(params: np.ndarray) -> Any:
            q = model.encoder(params)
            return 2.5 * kl(q, q.mean(0)).mean() - (q * np.log(model.likelihood)).sum(-1).mean()

        problem = build_objective("rate_distortion", multiplier=2.5, terms=terms, **toy)
        for params in (problem.params, moved(problem.params)):
            assert gap(problem.exact_gradient(params), slopes(cost, params.numpy())) < 1e-10
        if terms == "sampled":
            assert float(problem.exact_value()) == pytest.approx(cost(problem.params.numpy()))
        method = build_estimator("score_function", samples=1)
        wanted = problem.exact_gradient().flatten()
        assert gap(exact_moments(problem, method).mean, wanted) < 1e-9
        frozen = replace(problem, cost=lambda z, params: problem.cost(z, params.detach()))
        if terms in ("exact", "all"):  # q_Z held still, as where it is taken for a constant prior
            assert gap(exact_moments(frozen, method).mean, wanted) > 1e-2


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("elbo", {"form": "vea"}, "no form 'vea', did you mean 'vae'?; choose from em, entropy"),
        ("elbo", {"terms": "entropy"}, "choose terms from sampled, exact, all, reconstruction, kl"),
        ("elbo", {"form": "maxent", "terms": "entropi"}, "did you mean 'entropy'?"),
        ("elbo", {"form": "dvae", "terms": "kl"}, "marginal_kl, total_correlation, dimension_wise"),
        ("elbo", {"total_correlation": 4.0}, "one KL term, got weights mutual_information: 1"),
        ("elbo", {"form": "em", "mutual_information": 2.0}, "no term to weight"),
        ("elbo", {"form": "dvae", "total_correlation": float("nan")}, "a finite number, got nan"),
        ("elbo", {"latents": "normal"}, "bernoulli or categorical, got 'normal'"),
        ("elbo", {"data": 0}, "whole data >= 1, got 0"),
        ("elbo", {"dimensions": 13}, "8,192 are more than 4,096; use fewer dimensions"),
        ("elbo", {"distance": -1.0}, "distance >= 0, got -1.0"),
        ("elbo", {"fit": float("inf")}, "fit: a finite number, got inf"),
        ("log_marginal", {"categories": 1}, "whole categories >= 2, got 1"),
        ("prior_bound", {"dimensions": 0}, "whole dimensions >= 1, got 0"),
        ("expectation_maximization", {"components": 1}, "whole components >= 2, got 1"),
        ("expectation_maximization", {"distance": -0.5}, "distance >= 0, got -0.5"),
        ("rate_distortion", {"multiplier": -1.0}, "multiplier >= 0, got -1.0"),
        ("rate_distortion", {"multiplier": 0.0, "iterations": 3}, "use iterations: 0"),
        ("rate_distortion", {"iterations": -1}, "whole iterations >= 0, got -1"),
        ("rate_distortion", {"terms": "kl"}, "sampled, exact, all, reconstruction, mutual_inf"),
        ("rate_distortion", {"terms": "rate"}, "mutual_information, got 'rate'"),
        ("elbo", {"data": 10**9}, "more than 20,000,000; use less data"),
        ("elbo", {"dimensions": 10**7}, "2^10,000,000 are more than 4,096"),
        ("elbo", {"distance": 1e308}, "beyond the numbers of float32 at this point"),
        ("rate_distortion", {"multiplier": 1e-300, "iterations": 5}, "beyond the numbers"),
        ("expectation_maximization", {"components": 10**9}, "are more than 4,096; use fewer comp"),
    ],
)
def test_errors_are_one_line(name, settings, message):
    with pytest.raises(BadArgument) as caught:
        build_objective(name, **settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("terms", ["total_correlation", "marginal_kl", "dimension_wise"])
def test_a_rate_has_no_terms_of_weight_0(terms):
    """They are terms of form dvae; in closed form they would be nothing, and all else sampled."""
    with pytest.raises(BadArgument, match=f"got '{terms}'"):
        rate_distortion(terms=terms)
