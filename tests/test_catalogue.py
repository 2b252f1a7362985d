"""The one table of names: complete, and helpful about what it does not hold."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchbed import estimators, objectives
from benchbed.catalogue import (
    ESTIMATORS,
    OBJECTIVES,
    build_estimator,
    build_objective,
    listing,
    settings_of,
    takes_samples,
)
from benchbed.catalogue.listing import YARDSTICKS
from benchbed.contracts import Estimator, Objective, check_pair
from benchbed.errors import BadArgument, BenchbedError, IncompatiblePair, UnknownName
from benchbed.families import NORMAL
from benchbed.measurement.cell import measure_cell
from benchbed.rng import Noise

SMALL = {"digits_vae": {"training_steps": 0}}  # training is for test_objectives
BUILD = {"estimator": build_estimator, "objective": build_objective}


def files_of(package: object) -> list[str]:
    return sorted(path.stem for path in Path(package.__file__).parent.glob("[!_]*.py"))


def homes(table: dict[str, Callable[..., object]]) -> list[str]:
    return [factory.__module__.rpartition(".")[2] for factory in table.values()]


def message_of(wanted: type[BenchbedError], build: Callable[[], object]) -> str:
    """Return the message of the error that ``build`` raises, and hold it to one line."""
    with pytest.raises(wanted) as caught:
        build()
    assert type(caught.value) is wanted
    message = str(caught.value)
    assert "\n" not in message
    return message


class TestTables:
    def test_every_estimator_file_is_listed_once(self):
        assert sorted(homes(ESTIMATORS)) == files_of(estimators)

    def test_every_objective_file_is_listed(self):
        """One file may hold several problems of one paper, none more than once."""
        assert sorted(set(homes(OBJECTIVES))) == files_of(objectives)
        assert len(set(OBJECTIVES.values())) == len(OBJECTIVES)

    @pytest.mark.parametrize("package", [estimators, objectives], ids=["estimators", "objectives"])
    def test_every_factory_in_the_files_is_listed(self, package):
        """A factory is a public function that returns an Estimator or an Objective."""
        table = ESTIMATORS if package is estimators else OBJECTIVES
        kind = "Estimator" if package is estimators else "Objective"
        defined = set()
        for stem in files_of(package):
            module = __import__(f"{package.__name__}.{stem}", fromlist=[stem])
            for name, member in inspect.getmembers(module, inspect.isfunction):
                returns = inspect.signature(member).return_annotation
                if member.__module__ == module.__name__ and returns == kind and name[0] != "_":
                    defined.add(name)
        assert defined - {"negative_elbo"} == set(table)  # that one takes a model, not settings

    @pytest.mark.parametrize("table", [ESTIMATORS, OBJECTIVES], ids=["estimators", "objectives"])
    def test_names_are_the_functions_own_and_in_order(self, table):
        assert [factory.__name__ for factory in table.values()] == list(table)
        assert sorted(table) == list(table)

    @pytest.mark.parametrize("name", [*ESTIMATORS, *OBJECTIVES])
    def test_every_factory_says_what_it_is(self, name):
        factory = {**ESTIMATORS, **OBJECTIVES}[name]
        summary = (inspect.getdoc(factory) or "").partition("\n")[0]
        assert summary.endswith(".")
        assert inspect.getdoc(inspect.getmodule(factory))

    @pytest.mark.parametrize("name", ESTIMATORS)
    def test_every_estimator_builds_with_its_defaults_and_names_its_source(self, name):
        built = build_estimator(name)
        assert isinstance(built, Estimator)
        assert built.name == name
        assert built.citation or name == "exact"  # a sum over everything has no author

    @pytest.mark.parametrize("name", OBJECTIVES)
    def test_every_objective_builds_with_its_defaults(self, name):
        built = build_objective(name, **SMALL.get(name, {}))
        assert isinstance(built, Objective)
        assert built.name == name
        assert torch.isfinite(built.exact_gradient()).all()

    @pytest.mark.parametrize("name", [*ESTIMATORS, *OBJECTIVES])
    def test_every_setting_has_a_default(self, name):
        parameters = inspect.signature({**ESTIMATORS, **OBJECTIVES}[name]).parameters.values()
        assert all(parameter.default is not parameter.empty for parameter in parameters)

    def test_settings_reach_the_factory(self):
        assert build_estimator("leave_one_out", samples=5).samples == 5
        assert build_objective("quadratic", dimensions=3).params.shape == (3,)
        assert settings_of(ESTIMATORS["leave_one_out"]) == {"samples": 2}
        assert takes_samples({"name": "leave_one_out"})
        assert not takes_samples({"name": "exact"})

    def test_listing(self):
        rows = listing("estimators")
        assert [row["name"] for row in rows] == list(ESTIMATORS)
        promises = {"families", "unbiased", "target", "evaluations", "slopes", "needs", "tuned"}
        for row in rows:
            assert set(row) == {"name", "settings", "summary", "citation"} | promises
            assert row["summary"].endswith(".")
            assert row["citation"] or row["name"] == "exact"
        by_name = {row["name"]: row for row in rows}
        assert by_name["disarm"]["families"] == ["bernoulli"]
        assert by_name["doubly_reparameterized"]["families"] == ["normal particles"]
        assert set(by_name["score_function"]["families"]) == set(YARDSTICKS)
        assert by_name["vq_straight_through"]["families"] == [
            *("quantized", "learned_codebook", "step", "snap"),
        ]
        names = {row["name"] for row in listing("estimators", "categorical")}
        assert {"carms", "gumbel_rao"} <= names
        assert not {"disarm", "vimco", "lax"} & names
        assert by_name["local_expectation"]["evaluations"] == {"d=8 bits": 9, "d=8 K=10": 73}
        assert by_name["gumbel_softmax"]["unbiased"] == "limit"
        assert [row["name"] for row in listing("objectives")] == list(OBJECTIVES)

    def test_listing_for_an_objective_keeps_what_fits(self):
        bits = {row["name"] for row in listing("estimators", "golden_bits")}
        normal = {row["name"] for row in listing("estimators", "normal_cosine")}
        categories = {row["name"] for row in listing("estimators", "table")}
        assert {"arm", "disarm", "rebar", "score_function", "straight_through"} <= bits
        assert "reparameterization" not in bits | categories
        assert "reparameterization" in normal
        assert not {"arm", "gumbel_softmax", "reinmax"} & normal
        assert not {"arm", "disarm"} & categories

    def test_listing_narrows_estimators_only(self):
        assert "--for narrows estimators" in message_of(
            BadArgument, lambda: listing("objectives", "table")
        )


class TestUnknownNames:
    @pytest.mark.parametrize(
        ("kind", "given", "nearest"),
        [
            ("estimator", "leave_one_ot", "leave_one_out"),
            ("estimator", "Reinmax", "reinmax"),
            ("estimator", "gumble_softmax", "gumbel_softmax"),
            ("objective", "quadratics", "quadratic"),
            ("objective", "digit_vae", "digits_vae"),
        ],
    )
    def test_the_nearest_name_is_offered(self, kind, given, nearest):
        message = message_of(UnknownName, lambda: BUILD[kind](given))
        assert message == (
            f"unknown {kind} '{given}', did you mean '{nearest}'?; "
            f"'benchbed list {kind}s' shows them all"
        )

    def test_nothing_is_offered_where_nothing_is_near(self):
        message = message_of(UnknownName, lambda: build_estimator("qqqq"))
        assert "did you mean" not in message
        assert "benchbed list estimators" in message

    @pytest.mark.parametrize(
        ("kind", "name", "given", "nearest"),
        [
            ("estimator", "gumbel_softmax", "temprature", "temperature"),
            ("estimator", "leave_one_out", "sample", "samples"),
            ("objective", "quadratic", "dimension", "dimensions"),
            ("objective", "polynomial", "exponents", "exponent"),
        ],
    )
    def test_the_nearest_setting_is_offered(self, kind, name, given, nearest):
        message = message_of(UnknownName, lambda: BUILD[kind](name, **{given: 1}))
        assert f"{kind} {name} has no setting '{given}', did you mean '{nearest}'?" in message
        assert "it takes " in message

    def test_a_factory_without_settings_takes_none(self):
        assert "it takes none" in message_of(UnknownName, lambda: build_estimator("exact", k=1))


class TestBadSettings:
    @pytest.mark.parametrize(
        ("name", "settings", "said"),
        [
            ("gumbel_softmax", {"temperature": 0}, "temperature > 0, got 0"),
            ("straight_through", {"temperature": 0.0}, "temperature > 0, got 0.0"),
            ("straight_through_gumbel_softmax", {"temperature": -1}, "temperature > 0, got -1"),
            ("reinmax", {"temperature": 0}, "temperature > 0, got 0"),
            ("rebar", {"temperature": 0}, "temperature > 0, got 0"),
            ("gumbel_softmax", {"temperature": float("nan")}, "temperature > 0, got nan"),
            ("score_function", {"samples": 0}, "samples >= 1, got 0"),
            ("score_function", {"samples": 1.5}, "whole samples >= 1, got 1.5"),
            ("score_function", {"samples": True}, "whole samples >= 1, got True"),
            ("leave_one_out", {"samples": 1}, "samples >= 2, got 1; with one sample use score_fun"),
            ("disarm", {"samples": 3}, "got 3"),
            ("arm", {"samples": 3}, "got 3"),
            ("disarm", {"samples": 0}, "got 0"),
        ],
    )
    def test_a_bad_value_says_what_was_given(self, name, settings, said):
        message = message_of(BadArgument, lambda: build_estimator(name, **settings))
        assert message.startswith(name)
        assert said in message

    @pytest.mark.parametrize("name", ESTIMATORS)
    def test_no_estimator_takes_0_samples(self, name):
        if "samples" not in settings_of(ESTIMATORS[name]):
            assert name in ("exact", "snap_straight_through", "step_straight_through")
            return
        message = message_of(BadArgument, lambda: build_estimator(name, samples=0))
        assert "got 0" in message

    @pytest.mark.parametrize("name", ESTIMATORS)
    @pytest.mark.parametrize("temperature", [0, -0.5])
    def test_no_estimator_takes_a_temperature_that_is_not_positive(self, name, temperature):
        if "temperature" in settings_of(ESTIMATORS[name]):
            message = message_of(
                BadArgument, lambda: build_estimator(name, temperature=temperature)
            )
            assert f"got {temperature}" in message

    @pytest.mark.parametrize(
        ("kind", "name", "settings"),
        [
            ("estimator", "leave_one_out", {"samples": "four"}),
            ("estimator", "leave_one_out", {"samples": None}),
            ("estimator", "gumbel_softmax", {"temperature": "cold"}),
            ("objective", "quadratic", {"dimensions": "many"}),
            ("objective", "quadratic", {"target": None}),
        ],
    )
    def test_a_value_of_the_wrong_kind_is_no_traceback(self, kind, name, settings):
        message = message_of(BadArgument, lambda: BUILD[kind](name, **settings))
        assert name in message


class TestPairs:
    def test_reparameterization_on_bits_is_refused_and_says_why(self):
        message = message_of(
            IncompatiblePair,
            lambda: check_pair(build_objective("quadratic"), build_estimator("reparameterization")),
        )
        assert message == (
            "reparameterization cannot work on quadratic: it differentiates through the sample, "
            "and a bernoulli sample has no derivative in its parameters; "
            "'benchbed list estimators --for quadratic' shows what fits"
        )

    def test_bits_only_methods_name_their_family(self):
        message = message_of(
            IncompatiblePair,
            lambda: check_pair(build_objective("table"), build_estimator("disarm")),
        )
        assert "made for bernoulli latents, not categorical" in message

    def test_pairs_that_fit_pass(self):
        check_pair(build_objective("normal_cosine"), build_estimator("reparameterization"))
        check_pair(build_objective("quadratic"), build_estimator("disarm"))


OWN = '''
from benchbed.contracts import Estimator
from benchbed.objectives.quadratic import quadratic

def zero(objective, params, draws, noise):
    return 0 * noise.uniform(draws, *params.shape)

def scaled(samples: int = 1, factor: float = 1.0) -> Estimator:
    """Return half of nothing."""
    def draw(objective, params, draws, noise):
        return factor * noise.uniform(draws, *params.shape)
    return Estimator("scaled", draw, samples=samples)

def hard(dimensions: int = 2):
    """Return a quadratic."""
    return quadratic(dimensions)

def nothing():
    return 7

constant = 3
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a module of one's own, importable by name and by path."""
    path = tmp_path / "benchbed_own_module.py"
    path.write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return path


class TestYourOwn:
    @pytest.mark.parametrize("by", ["path", "module"])
    def test_factories_are_found(self, own, by):
        place = str(own) if by == "path" else own.stem
        built = build_estimator(f"{place}:scaled", factor=2.0, samples=3)
        assert (built.name, built.samples) == ("scaled", 3)
        rows = built.draw(build_objective("quadratic"), torch.zeros(2), 4, Noise(1))
        assert torch.equal(rows, 2 * Noise(1).uniform(4, 2))
        assert build_objective(f"{place}:hard", dimensions=5).params.shape == (5,)
        assert takes_samples({"name": f"{place}:scaled"})

    @pytest.mark.parametrize("by", ["path", "module"])
    def test_a_bare_draw_function_is_an_estimator(self, own, by):
        name = f"{own if by == 'path' else own.stem}:zero"
        built = build_estimator(name)
        assert isinstance(built, Estimator)
        assert (built.name, built.samples, built.unbiased) == (name, 1, False)
        assert built.draw(build_objective("quadratic"), torch.zeros(2), 4, Noise(1)).shape == (4, 2)
        assert "takes no settings" in message_of(
            BadArgument, lambda: build_estimator(name, samples=3)
        )

    def test_a_bare_draw_function_takes_no_settings(self, own):
        message = message_of(BadArgument, lambda: build_estimator(f"{own}:zero", factor=2))
        assert "takes no settings, got factor" in message

    def test_a_missing_function_gets_the_nearest(self, own):
        message = message_of(UnknownName, lambda: build_estimator(f"{own}:scale"))
        assert "did you mean 'scaled'?" in message
        assert f"{own} has no function scale" in message

    def test_what_is_not_callable_is_not_found(self, own):
        assert "has no function constant" in message_of(
            UnknownName, lambda: build_estimator(f"{own}:constant")
        )

    @pytest.mark.parametrize("kind", ["estimator", "objective"])
    def test_what_returns_something_else_is_refused(self, own, kind):
        message = message_of(BadArgument, lambda: BUILD[kind](f"{own}:nothing"))
        assert f"returned a int; it must return a benchbed.contracts.{kind.title()}" in message

    @pytest.mark.parametrize(
        "source",
        [
            "raise ValueError('first line\\nsecond line')",
            "import a_module_that_is_not_there",
            "def broken(:\n    pass\n",
            "x = 1 / 0",
        ],
        ids=["raises", "imports", "syntax", "divides"],
    )
    def test_a_file_that_fails_on_import_is_one_line(self, tmp_path, source):
        path = tmp_path / "broken.py"
        path.write_text(source, encoding="utf-8")
        message = message_of(UnknownName, lambda: build_estimator(f"{path}:anything"))
        assert f"cannot be imported from {path}" in message

    @pytest.mark.parametrize("place", ["nowhere.py", "no.such.module", "a folder/none.py"])
    def test_a_place_that_does_not_exist_is_one_line(self, place):
        message = message_of(UnknownName, lambda: build_objective(f"{place}:anything"))
        missing = "there is no file" if place.endswith(".py") else "cannot be imported from"
        assert missing in message
        assert place in message

    def test_an_error_inside_a_factory_is_one_line(self, tmp_path):
        path = tmp_path / "late.py"
        path.write_text("def late(k=1):\n    raise OSError('one\\ntwo')\n", encoding="utf-8")
        message = message_of(BadArgument, lambda: build_estimator(f"{path}:late", k=2))
        assert "late(k=2) cannot be built" in message

    def test_a_file_is_read_again_when_it_was_edited(self, own):
        assert build_estimator(f"{own}:scaled").samples == 1
        own.write_text(OWN.replace("samples: int = 1", "samples: int = 2"), encoding="utf-8")
        assert build_estimator(f"{own}:scaled").samples == 2


class TestNumbers:
    """What the checks shared by all factories let through, called without the catalogue."""

    @pytest.mark.parametrize("given", [0, -1, 2.5, 2.0, True, math.nan, math.inf, "2", None])
    def test_samples_that_are_no_whole_number_are_one_line(self, given):
        assert "whole samples >= 1" in message_of(
            BadArgument, lambda: ESTIMATORS["score_function"](samples=given)
        )

    @pytest.mark.parametrize("given", [math.nan, math.inf, 1e-40, 1e300, True, "0.5", None])
    def test_temperatures_that_leave_no_relaxed_sample_are_one_line(self, given):
        for name in ("gumbel_softmax", "rebar", "reinmax"):
            message_of(BadArgument, lambda name=name: ESTIMATORS[name](temperature=given))

    @pytest.mark.parametrize(
        ("name", "what"),
        [
            (name, what)
            for name, factory in ESTIMATORS.items()
            for what, default in settings_of(factory).items()
            if isinstance(default, bool)
        ],
    )
    @pytest.mark.parametrize("given", ["no", math.nan, 1, None])
    def test_flags_that_are_no_flags_are_one_line(self, name, what, given):
        assert f"needs {what}: true or false" in message_of(
            BadArgument, lambda: ESTIMATORS[name](**{what: given})
        )


def test_objectives_are_listed_with_their_latents():
    by_name = {row["name"]: row["latents"] for row in listing("objectives")}
    assert by_name["elbo"] == "bernoulli"
    assert by_name["hidden_markov"] == "markov_chain"
    assert set(by_name) == set(OBJECTIVES)


def test_a_dict_is_no_name():
    with pytest.raises(UnknownName, match=r"write build_objective\(NAME, \*\*settings\)"):
        build_objective({"name": "elbo"})


def test_params_with_too_few_axes_are_refused():
    with pytest.raises(BadArgument, match=r"params of 2 axes or more, those of normal latents"):
        Objective("mine", NORMAL, torch.zeros(3), lambda z, _: z.sum(-1))


def test_the_time_of_an_exact_gradient_is_not_shared_out():
    """It is found once however many draws are asked for; a sampled one takes less."""
    problem = build_objective("coupled", dimensions=12)
    seconds = {
        name: min(cpu for cpu, _ in measure_cell(
            replace(problem, value=None, gradient=None), build_estimator(name), draws=256, timing=2
        ).times.seconds)
        for name in ("exact", "score_function")
    }  # fmt: skip
    assert seconds["exact"] > 20 * seconds["score_function"]
