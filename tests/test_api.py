"""What people import: one frame, a row per estimator, every number with its interval."""

from __future__ import annotations

import pytest
import torch

import benchbed
from benchbed import build_estimator, build_objective, compare, measure
from benchbed.errors import BenchbedError

QUICK = {"draws": 512, "blocks": 8, "timing": 0}
INTERVALS = ("bias", "variance", "mse", "snr", "cosine", "cpu_us", "variance_x_evaluations")


def mine(objective, params, draws, noise):
    """Draw gradients as score_function does."""
    return build_estimator("score_function").draw(objective, params, draws, noise)


class TestMeasure:
    def test_one_row_with_intervals(self):
        frame = measure("quadratic", "score_function", **QUICK)
        assert len(frame) == 1
        row = frame.iloc[0]
        assert (row["status"], row["draws"], row["samples"]) == ("ok", 512, 1)
        for name in INTERVALS:
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]

    @pytest.mark.parametrize(
        "objective",
        [
            "quadratic",
            {"name": "quadratic", "dimensions": 8},
            build_objective("quadratic"),
        ],
        ids=["name", "mapping", "Objective"],
    )
    def test_an_objective_may_be_given_in_any_way(self, objective):
        wanted = measure("quadratic", "score_function", **QUICK)
        found = measure(objective, "score_function", **QUICK)
        assert found["variance"].item() == wanted["variance"].item()

    @pytest.mark.parametrize(
        "estimator",
        ["score_function", {"name": "score_function"}, build_estimator("score_function"), mine],
        ids=["name", "mapping", "Estimator", "function"],
    )
    def test_an_estimator_may_be_given_in_any_way(self, estimator):
        wanted = measure("quadratic", "score_function", **QUICK)
        found = measure("quadratic", estimator, **QUICK)
        assert found["variance"].item() == wanted["variance"].item()
        assert found["estimator"].item() in ("score_function", "mine")

    def test_the_same_call_gives_the_same_numbers(self):
        first, second = (measure("quadratic", "leave_one_out", **QUICK) for _ in range(2))
        assert first["variance"].item() == second["variance"].item()

    def test_samples_is_honoured(self):
        two, four = (
            measure("quadratic", "leave_one_out", samples=samples, **QUICK) for samples in (2, 4)
        )
        assert (two["samples"].item(), four["samples"].item()) == (2, 4)
        assert four["variance_high"].item() < two["variance_low"].item()

    def test_a_mapping_decides_its_own_samples(self):
        entry = {"name": "leave_one_out", "samples": 3}
        assert measure("quadratic", entry, samples=8, **QUICK)["samples"].item() == 3

    def test_seeds_are_pooled(self):
        frame = measure("quadratic", "score_function", seeds=3, **QUICK)
        assert (frame["seeds"].item(), frame["draws"].item()) == (3, 3 * 512)

    def test_a_tuned_estimator_is_tuned_for_every_seed(self):
        entry = {"name": "rebar", "eta": "tune"}
        frame = measure("quadratic", entry, seeds=3, **QUICK)
        assert frame["seeds"].item() == 3
        assert frame["tuning_evaluations"].item() > 0
        assert frame["variance_low"].item() < frame["variance_high"].item()

    def test_timing_adds_a_ratio(self):
        frame = measure("quadratic", "score_function", **(QUICK | {"timing": 2}))
        assert frame["cpu_ratio"].item() > 0

    def test_nonfinite_draws_are_counted_not_averaged(self):
        def some_nan(objective, params, draws, noise):
            gradients = mine(objective, params, draws, noise).clone()
            gradients[::64] = float("nan")
            return gradients

        row = measure("quadratic", some_nan, **QUICK).iloc[0]
        assert (row["status"], row["nonfinite"]) == ("nonfinite", 8)
        assert row["message"] == "8 draws were NaN or infinite"

    def test_global_random_state_is_left_alone(self):
        before = torch.get_rng_state()
        measure("quadratic", "score_function", **QUICK)
        assert torch.equal(before, torch.get_rng_state())


class TestCompare:
    def test_a_row_each_in_the_order_given(self):
        names = ["leave_one_out", "exact", "score_function"]
        assert list(compare("quadratic", names, **QUICK)["estimator_name"]) == names

    def test_settings_are_columns(self):
        entries = [{"name": "gumbel_softmax", "temperature": t} for t in (0.5, 1.0)]
        frame = compare("quadratic", entries, **QUICK)
        assert list(frame["estimator.temperature"]) == [0.5, 1.0]

    def test_noise_is_shared(self):
        frame = compare("quadratic", ["score_function", mine], **QUICK)
        assert frame["variance"].nunique() == 1

    def test_it_is_found_on_the_package(self):
        assert set(benchbed.__all__) <= set(dir(benchbed))
        assert benchbed.measure is measure


def wrong_shape(objective, params, draws, noise):
    return mine(objective, params, draws, noise)[:, :1]


class TestMistakes:
    @pytest.mark.parametrize(
        ("objective", "estimator", "changes", "says"),
        [
            ("quadratc", "score_function", {}, "did you mean 'quadratic'"),
            ("quadratic", "score_functon", {}, "did you mean 'score_function'"),
            ({"name": "quadratic", "dims": 3}, "exact", {}, "no setting 'dims'"),
            ("quadratic", "reparameterization", {}, "no derivative in its parameters"),
            ("quadratic", {"name": "gumbel_softmax", "temperature": 0}, {}, "temperature > 0"),
            ("quadratic", "leave_one_out", {"samples": 1}, "samples >= 2, got 1"),
            ("quadratic", "exact", {"draws": 8}, "such as draws: 16"),
            ("quadratic", "exact", {"draws": -4}, "draws >= 1, got -4"),
            ("quadratic", "exact", {"draws": "many"}, "draws >= 1, got 'many'"),
            ("quadratic", "exact", {"draws": 64.5}, "draws >= 1, got 64.5"),
            ("quadratic", "exact", {"draws": float("nan")}, "draws >= 1, got nan"),
            ("quadratic", "exact", {"compile": "yes"}, "compile: true or false, got 'yes'"),
            ("quadratic", "exact", {"blocks": 1}, "at least 2 blocks"),
            ("quadratic", "exact", {"dtype": "float16"}, "choose float32 or float64"),
            ("quadratic", wrong_shape, {}, "returned shape"),
        ],
    )
    def test_what_cannot_work_is_one_line(self, objective, estimator, changes, says):
        with pytest.raises(BenchbedError, match=says) as caught:
            measure(objective, estimator, **(QUICK | changes))
        assert "\n" not in str(caught.value)


class TestMoreMistakes:
    """One line each: what was given, why it cannot work, what to type."""

    @pytest.mark.parametrize(
        ("call", "says"),
        [
            (lambda: compare("quadratic", [], **QUICK), "at least one estimator"),
            (lambda: measure("quadratic", "exact", seeds=0, **QUICK), "seeds >= 1, got 0"),
            (lambda: measure("quadratic", "exact", device="tpu9", **QUICK), "'tpu9'; write cpu"),
            (lambda: measure("quadratic", {"temperature": 1}, **QUICK), "is no estimator"),
            (lambda: measure(None, "exact", **QUICK), "None is no objective"),
            (lambda: measure("quadratic", 3, **QUICK), "3 is no estimator"),
            (lambda: measure("quadratic", "exact", **QUICK | {"timing": -1}), "timing >= 0"),
            (lambda: measure("quadratic", "exact", **QUICK | {"draws": 3}), "draws"),
            (
                lambda: measure("quadratic", build_estimator("disarm"), samples=4, **QUICK),
                "was built with samples 2",
            ),
        ],
    )
    def test_it_is_one_line(self, call, says):
        with pytest.raises(BenchbedError) as caught:
            call()
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_draws_may_be_written_as_a_power_of_ten(self):
        assert list(measure("quadratic", "exact", **QUICK | {"draws": 1e3})["draws"]) == [1000]

    def test_one_estimator_need_not_be_a_list(self):
        assert list(compare("quadratic", "exact", **QUICK)["estimator"]) == ["exact"]

    def test_a_factory_may_be_given_as_a_function(self):
        from benchbed.estimators.leave_one_out import leave_one_out

        frame = measure("quadratic", leave_one_out, samples=4, **QUICK)
        assert frame["samples"].item() == 4

    def test_draws_may_be_written_as_a_whole_float(self):
        assert measure("quadratic", "exact", **QUICK | {"draws": 1e3})["draws"].item() == 1000


class TestRowsStayApart:
    """Two estimators that look alike are two rows; pooling them would invent a third."""

    def test_built_estimators_that_differ_in_a_setting(self):
        pair = [build_estimator("gumbel_softmax", temperature=t) for t in (0.1, 1.0)]
        frame = compare("golden_bits", pair, **QUICK)
        assert list(frame["estimator.temperature"]) == [0.1, 1.0]
        assert frame["variance"][0] > 10 * frame["variance"][1]

    def test_functions_of_one_name_and_one_name_twice(self):
        def scaled(factor):
            def draw(objective, params, draws, noise):
                return factor * mine(objective, params, draws, noise)

            return draw

        frame = compare("quadratic", [scaled(1.0), scaled(0.5)], **QUICK)
        assert frame["variance"][0] == pytest.approx(4 * frame["variance"][1])
        twice = compare("quadratic", ["score_function"] * 2, **QUICK)
        assert list(twice["draws"]) == [512, 512]
