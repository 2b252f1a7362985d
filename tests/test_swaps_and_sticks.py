"""ARS, ARSM, DisARM-SB and DisARM-IW: exact where their randomness is finite, oracles elsewhere."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from bias_cases import SEED, judged
from panel import blocks_of, fresh_blocks, objective
from torch import Tensor

from benchbed.analysis.verdict import judge
from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Estimator, Objective
from benchbed.errors import BadArgument
from benchbed.estimators.disarm_importance_weighted import disarm_importance_weighted
from benchbed.families import CATEGORICAL
from benchbed.measurement.exact_moments import exact_moments
from benchbed.rng import Noise

NAMES = ("ars", "arsm", "disarm_stick_breaking", "disarm_importance_weighted")
STICKS = NAMES[2:]


def outcome(problem: Objective, method: Estimator, draws: int = 131_072) -> str:
    cells = {"cell": blocks_of(problem, method, draws, SEED)}
    return judge(cells, lambda _: fresh_blocks(problem, method, draws, SEED))["cell"].outcome


def three_classes(first: float) -> Objective:
    """Two variables of three classes with a random table, at logits ``first``, .1, -.3."""
    logits = torch.tensor([first, 0.1, -0.3], dtype=torch.float64).expand(2, 3).contiguous()
    return replace(build_objective("table", dimensions=2, categories=3), params=logits)


def bits_as_categories() -> tuple[Objective, Objective]:
    """golden_bits, and the same with each bit a variable of two categories at logits (0, phi)."""
    bits = objective("golden_bits")
    params = torch.stack((torch.zeros_like(bits.params), bits.params), -1)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return bits.cost(z[..., 1], bits.params)

    return bits, Objective("golden pairs", CATEGORICAL, params, cost)


@pytest.mark.parametrize("name", STICKS)
@pytest.mark.parametrize("where", ["table", "smooth", "polynomial", "smooth cubic"])
def test_coupled_pairs_have_exactly_the_exact_mean(where, name):
    problem = objective(where)
    found = exact_moments(problem, build_estimator(name))
    truth = problem.exact_gradient().flatten().numpy()
    np.testing.assert_allclose(found.mean, truth, rtol=1e-9, atol=1e-9 * np.abs(truth).max())


@pytest.mark.parametrize("first", [0.6, 1.2, 3.0])
def test_importance_weights_need_sorted_classes_where_one_outweighs_the_later_ones(first):
    problem = three_classes(first)
    truth = problem.exact_gradient().flatten().numpy()
    for sort in (True, False):
        method = build_estimator("disarm_importance_weighted", sort=sort)
        bias = np.abs(exact_moments(problem, method).mean - truth).max()
        assert (bias < 1e-12) == (sort or first == 0.6)
        assert method.unbiased is sort


def test_unsorted_importance_weights_are_caught_by_the_bias_test():
    problem = three_classes(1.2)
    wrong = build_estimator("disarm_importance_weighted", sort=False)
    assert outcome(problem, wrong) == "biased"
    assert outcome(problem, build_estimator("disarm_importance_weighted"), 262_144) == "unbiased"


@pytest.mark.parametrize("name", STICKS)
def test_two_classes_give_disarm(name):
    """Trace variance 2.49262 in the logits of the second classes, and the same again negated."""
    bits, pairs = bits_as_categories()
    disarm = exact_moments(bits, build_estimator("disarm"))
    found = exact_moments(pairs, build_estimator(name))
    variance = found.variance.reshape(3, 2)
    np.testing.assert_allclose(variance, np.stack([disarm.variance] * 2, -1), rtol=1e-10)
    assert f"{variance[:, 1].sum():.5f}" == "2.49262"
    # And sample by sample: B = 1[u < sigma(-phi)] stops at class 0, where DisARM has b = 0.
    settings = {"sort": False} if name == "disarm_importance_weighted" else {}
    ours, theirs = (Noise(1, dtype=torch.float64) for _ in range(2))
    rows = build_estimator(name, **settings).draw(pairs, pairs.params, 64, ours)
    expected = build_estimator("disarm").draw(bits, bits.params, 64, theirs)
    torch.testing.assert_close(rows[..., 1], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "settings"), [("ars", {"reference": 1}), ("arsm", {})])
def test_two_categories_give_arm(name, settings):
    """ARM: (J(b) - J(bt)) (u - 1/2) with u = w_1, b = 1[u > 1 - p]: here z = 1 iff w_1 < p."""
    bits, pairs = bits_as_categories()
    e = Noise(2, dtype=torch.float64).exponential(64, 1, 3, 2)[:, 0]
    u = 1 - e[..., 1] / e.sum(-1)
    p = bits.params.sigmoid()
    b, twin = ((x).to(torch.float64)[:, None] for x in (u > 1 - p, u < p))
    gap = bits.cost(b, bits.params) - bits.cost(twin, bits.params)
    method = build_estimator(name, **settings)
    rows = method.draw(pairs, pairs.params, 64, Noise(2, dtype=torch.float64))
    torch.testing.assert_close(rows[..., 1], gap * (u - 0.5), rtol=1e-10, atol=1e-12)


def test_arsm_is_the_mean_of_ars_over_its_reference():
    problem = objective("smooth")
    merged = build_estimator("arsm").draw(problem, problem.params, 32, _noise())
    each = [
        build_estimator("ars", reference=j).draw(problem, problem.params, 32, _noise())
        for j in range(4)
    ]
    torch.testing.assert_close(torch.stack(each).mean(0), merged, rtol=1e-10, atol=1e-12)


def _noise() -> Noise:
    return Noise(3, "oracle", dtype=torch.float64)


def _cost(problem: Objective, classes: np.ndarray) -> float:
    z = torch.nn.functional.one_hot(torch.from_numpy(classes), problem.params.shape[-1]).double()
    return float(problem.cost(z[None, None], problem.params))


def _transcribed_arsm(problem: Objective, phi: np.ndarray, w: np.ndarray) -> np.ndarray:
    count = phi.shape[1]
    costs = np.empty((count, count))
    for c in range(count):
        for j in range(count):
            swapped = w.copy()
            swapped[:, [c, j]] = swapped[:, [j, c]]
            costs[c, j] = _cost(problem, np.argmin(np.log(swapped) - phi, axis=1))
    g = np.zeros_like(phi)
    for i in range(len(phi)):
        for c in range(count):
            for j in range(count):
                g[i, c] += (costs[c, j] - costs[:, j].mean()) * (1 / count - w[i, j])
    return g


def _broken(phi: np.ndarray, u: np.ndarray):
    """Return sigma(psi), B, Bt, z and zt of one variable, classes counted from 0."""
    last = len(phi) - 1
    psi = np.array([phi[c] - np.log(np.exp(phi[c + 1 :]).sum()) for c in range(last)])
    s = 1 / (1 + np.exp(-psi))
    both = [(x < s).astype(int) for x in (u, 1 - u)]
    classes = [int(np.argmax(b)) if b.any() else last for b in both]
    return s, *both, *classes


def _transcribed_stick_breaking(problem: Objective, phi: np.ndarray, u: np.ndarray) -> np.ndarray:
    parts = [_broken(*pair) for pair in zip(phi, u, strict=True)]
    at_z, at_zt = (_cost(problem, np.array([p[i] for p in parts])) for i in (3, 4))
    g = np.zeros_like(phi)
    for i, (s, b, bt, z, zt) in enumerate(parts):
        for c in range(phi.shape[1] - 1):
            if c <= min(z, zt):
                by_psi = (-1) ** bt[c] * (b[c] != bt[c]) * max(s[c], 1 - s[c])
                by_psi *= 0.5 * (at_z - at_zt)
            elif z < c <= zt:
                by_psi = 0.5 * (at_zt - at_z) * (bt[c] - s[c])
            elif zt < c <= z:
                by_psi = 0.5 * (at_z - at_zt) * (b[c] - s[c])
            else:
                by_psi = 0.0
            later = np.exp(phi[i, c + 1 :])
            g[i, c] += by_psi
            g[i, c + 1 :] -= by_psi * later / later.sum()
    return g


def _transcribed_importance(problem: Objective, phi: np.ndarray, u: np.ndarray) -> np.ndarray:
    orders = np.argsort(phi, axis=1)
    parts = [_broken(p[o], x) for p, o, x in zip(phi, orders, u, strict=True)]
    z, zt = (np.array([o[p[i]] for o, p in zip(orders, parts, strict=True)]) for i in (3, 4))
    gap = _cost(problem, z) - _cost(problem, zt)
    g = np.zeros_like(phi)
    for i, (s, _, _, mine, other) in enumerate(parts):
        if mine == other:
            continue
        n = min(mine, other)
        r = max(s[n], 1 - s[n]) * np.prod((1 - s[:n]) ** 2 / (1 - 2 * s[:n]))
        g[i, z[i]] += 0.5 * gap * r
        g[i, zt[i]] -= 0.5 * gap * r
    return g


@pytest.mark.parametrize("where", ["smooth", "table"])
@pytest.mark.parametrize(
    ("name", "transcribed"),
    [
        ("arsm", _transcribed_arsm),
        ("disarm_stick_breaking", _transcribed_stick_breaking),
        ("disarm_importance_weighted", _transcribed_importance),
    ],
)
def test_a_transcription_of_the_formula_gives_the_same_rows(where, name, transcribed):
    problem, draws = objective(where), 48
    phi = problem.params.numpy()
    rows = build_estimator(name).draw(problem, problem.params, draws, _noise())
    if name == "arsm":
        e = _noise().exponential(draws, 1, *phi.shape)[:, 0].numpy()
        given = e / e.sum(-1, keepdims=True)
    else:
        given = _noise().uniform(draws, 1, phi.shape[0], phi.shape[1] - 1)[:, 0].numpy()
    expected = np.stack([transcribed(problem, phi, x) for x in given])
    np.testing.assert_allclose(rows.numpy(), expected, rtol=1e-9, atol=1e-12)
    assert (np.abs(expected).sum(axis=(1, 2)) > 0).mean() > 0.2


def test_they_pass_the_bias_test():
    draws = {(where, name): 65_536 for where in ("table", "smooth") for name in NAMES}
    draws |= {("smooth cubic", "ars fixed"): 65_536}
    verdicts = judged(draws)
    for name, verdict in verdicts.items():
        print(f"{name}: {verdict.one_line()}")
        assert verdict.outcome != "biased", name
    assert sum(verdict.outcome == "unbiased" for verdict in verdicts.values()) >= 6


@pytest.mark.parametrize("name", ["ars", "arsm"])
def test_a_weight_of_the_wrong_category_is_caught(name, monkeypatch):
    problem, module = objective("smooth"), importlib.import_module(f"benchbed.estimators.{name}")
    right = module.dirichlet
    monkeypatch.setattr(module, "dirichlet", lambda e: right(e).roll(1, -2))
    assert outcome(problem, build_estimator(name), 65_536) == "biased"


def test_stick_logits_taken_for_class_logits_are_caught(monkeypatch):
    """Without - softmax(phi_{c+1..C}) in the chain from psi to phi."""
    module = importlib.import_module("benchbed.estimators.disarm_stick_breaking")
    monkeypatch.setattr(module, "_chain", lambda params: torch.eye(4).to(params)[:, :-1])
    problem = objective("smooth")
    assert outcome(problem, build_estimator("disarm_stick_breaking"), 65_536) == "biased"


@pytest.mark.parametrize("name", NAMES)
def test_items_do_not_mix(name):
    problem = objective("digits_vae categorical")

    def louder(z: Tensor, params: Tensor) -> Tensor:
        scale = torch.full((16,), 100.0)
        scale[0] = 1.0
        return problem.cost(z, params) * scale

    method, params = build_estimator(name), problem.params.float()
    quiet, loud = (
        method.draw(p, params, 4, Noise(5)) for p in (problem, replace(problem, cost=louder))
    )
    torch.testing.assert_close(quiet[:, 0], loud[:, 0])
    assert not torch.allclose(quiet[:, 1:], loud[:, 1:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "row", [[20.0, -20, 0, 20], [0.0, 0, 0, 0], [-20.0, 20, 20, -20], [60.0, 0, -60, 60]]
)
def test_extreme_and_equal_logits_are_finite(row, name, dtype):
    problem = build_objective("smooth", dimensions=3, categories=4)
    params = torch.tensor(row, dtype=dtype).expand(3, 4).contiguous()
    rows = build_estimator(name).draw(problem, params, 256, Noise(6, dtype=dtype))
    assert torch.isfinite(rows).all()
    unsorted = build_estimator("disarm_importance_weighted", sort=False)
    assert torch.isfinite(unsorted.draw(problem, params, 256, Noise(6, dtype=dtype))).all()


def test_settings_that_cannot_work_say_so():
    for settings in ({"reference": -1}, {"reference": "best"}, {"samples": 0}):
        with pytest.raises(BadArgument, match="ars needs"):
            build_estimator("ars", **settings)
    problem = objective("table")
    with pytest.raises(BadArgument, match="categories 0 to 3"):
        build_estimator("ars", reference=4).draw(problem, problem.params, 2, _noise())
    for name in STICKS:
        with pytest.raises(BadArgument, match="even"):
            build_estimator(name, samples=3)


@pytest.mark.parametrize("name", STICKS)
@pytest.mark.parametrize("direct", [False, True])
def test_one_class_leaves_the_direct_term_only(name, direct):
    """Nothing is random: the gradient in the logits is 0, and J's own derivative."""

    def cost(z: Tensor, params: Tensor) -> Tensor:
        own = (params.square() if direct else torch.ones_like(params)) * z
        return own.sum((-2, -1))

    params = torch.tensor([[0.7], [-0.4]], dtype=torch.float64)
    problem = Objective("certain", CATEGORICAL, params, cost, direct=direct)
    method = build_estimator(name, samples=4)
    rows = method.draw(problem, params, 5, _noise())
    expected = 2 * params if direct else torch.zeros_like(params)
    torch.testing.assert_close(rows, expected.expand(5, 2, 1))
    moments = exact_moments(problem, method)
    np.testing.assert_allclose(moments.mean, expected.flatten())
    assert not moments.variance.any()


def test_the_last_break_needs_no_sorting():
    """Two classes are exact unsorted, and so are three whose last two are in any order."""
    for row in ([2.0, -1.0], [-1.0, 2.0], [0.6, 2.0, -1.0], [0.6, -1.0, 2.0]):
        params = torch.tensor([row], dtype=torch.float64)
        problem = Objective(
            "square",
            CATEGORICAL,
            params,
            lambda z, _: (z * torch.arange(z.shape[-1])).sum((-2, -1)) ** 2,
        )
        method = build_estimator("disarm_importance_weighted", sort=False)
        found = exact_moments(problem, method).mean
        np.testing.assert_allclose(found, problem.exact_gradient().flatten(), rtol=1e-9)


def test_a_flag_that_is_none_is_refused():
    with pytest.raises(BadArgument, match="sort: true or false, got 'x'"):
        disarm_importance_weighted(sort="x")


@pytest.mark.parametrize("name", ["disarm_stick_breaking", "disarm_importance_weighted"])
def test_many_classes_take_another_way_to_the_same_gradient(name, monkeypatch):
    """Above FEW_CLASSES the sticks are a ``cumprod``, and the chain a running sum."""
    problem = build_objective("polynomial", dimensions=2, categories=70)
    draw = build_estimator(name).draw
    few = draw(problem, problem.params, 64, Noise(91, dtype=torch.float64))
    for module in ("disarm_stick_breaking", "_stick_breaking"):
        where = importlib.import_module(f"benchbed.estimators.{module}")
        assert where.FEW_CLASSES < 70
        monkeypatch.setattr(where, "FEW_CLASSES", 1000)
    many = draw(problem, problem.params, 64, Noise(91, dtype=torch.float64))
    torch.testing.assert_close(few, many, rtol=1e-12, atol=1e-12 * float(many.abs().max()))
    assert not torch.equal(many, torch.zeros_like(many))
