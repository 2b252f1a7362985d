"""Every estimator on another device: with a GPU on it, and without one on a device that none has.

Without a GPU, ``elsewhere`` shows what one would refuse, and what it would have to wait for: a
number brought here stops it until all that was asked of it is done. With one, draws repeat, follow
the law of the CPU's, and a cell is measured from end to end.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
import panel
import pytest
import torch
from elsewhere import THERE, Away, AwayNoise, Elsewhere, Mixed
from scipy.stats import ks_2samp

from benchbed.catalogue import OBJECTIVES, build_estimator, build_objective
from benchbed.contracts import Estimator, Objective
from benchbed.measurement import cell, reference, reference_cuda, timing
from benchbed.measurement.cell import chunk_draws, measure_cell
from benchbed.measurement.moments import BlockSums
from benchbed.measurement.worth_tabulating import tabulated_if_worth
from benchbed.rng import Noise

ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
# Where a value decides what is done next, and why it must.
WAITS = {
    "families/poisson.py": "the length of a table of counts, and of a search for one",
    "families/snap.py": "Newton's steps end when they are small",
    "families/_concentrations.py": "torch's derivative is taken where it is right",
    "estimators/rotation_trick.py": "opposite vectors, rare, have a rotation of their own",
}
DRAWS = 8
SLOPES = ("straight_through_gumbel_softmax", "reparameterization", "vq_straight_through")
TUNABLE = [name for name in panel.ESTIMATORS if panel.estimator(name).tune]
# One objective of every kind of latents, to measure cells on.
KINDS = [
    *("coupled", "smooth", "normal_cosine", "gamma_quadratic", "beta_quadratic"),
    *("dirichlet_quadratic", "poisson_quadratic", "quantized", "snap", "markov_chain"),
    *("binary_tree", "nested", "iwae bernoulli", "iwae normal", "digits_vae"),
]


@pytest.fixture
def place() -> Iterator[Elsewhere]:
    with torch.no_grad(), Elsewhere() as elsewhere:
        yield elsewhere


def fitting(where: str) -> list[str]:
    return [
        name
        for name in panel.ESTIMATORS
        if panel.fits(panel.objective(where), panel.estimator(name))
    ]


def draw_there(
    place: Elsewhere, problem: Objective, method: Estimator, draws: int
) -> tuple[Counter[str], int]:
    """Draw elsewhere; return the lines that waited and the bytes that were sent."""
    params = place.send(problem.params.float())
    place.waited.clear()
    place.bytes_sent.clear()
    found = method.draw(problem, params, draws, AwayNoise(3, "there", device=THERE))
    assert isinstance(found, Away)
    assert found.shape == (draws, *problem.params.shape)
    assert found.dtype == torch.float32
    assert torch.isfinite(found.here).all()
    return Counter(place.waited), place.bytes_sent.total()


class TestTheDeviceThatNoneHas:
    def test_it_computes(self, place):
        x = place.send(torch.arange(6.0).reshape(2, 3))
        y = (x.softmax(-1) * x.new_ones(3)).sum(-1).cumsum(0)
        y[0] -= 1
        assert isinstance(y, Away)
        assert (y.device, str(y.dtype)) == (THERE, "torch.float32")
        torch.testing.assert_close(y.here, torch.tensor([0.0, 2.0]))
        assert not place.waited

    def test_it_differentiates(self, place):
        x = place.send(torch.tensor([1.0, 2.0])).requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad((x * x.exp()).sum(), x)
        assert isinstance(slope, Away)
        wanted = torch.tensor([2 * math.exp(1), 3 * math.exp(2)])
        torch.testing.assert_close(slope.here, wanted)

    @pytest.mark.parametrize(
        "mixture",
        [
            lambda x: x + torch.ones(3),
            lambda x: torch.ones(2, 3) @ x[:, None],
            lambda x: torch.cat((x, torch.ones(1))),
            lambda x: torch.where(torch.ones(3, dtype=torch.bool), x, 0.0),
            lambda x: x.index_select(0, torch.tensor([1])),
            lambda x: torch.zeros(3).add_(x),
        ],
    )
    def test_a_mixture_is_refused(self, place, mixture):
        x = place.send(torch.ones(3))
        with pytest.raises((Mixed, RuntimeError)):
            mixture(x)

    @pytest.mark.parametrize(
        "question",
        [
            float,
            bool,
            lambda x: x.item(),
            lambda x: x.cpu(),
            lambda x: x.reshape(1)[x.reshape(1) > 0],
            lambda x: x.reshape(1).nonzero(),
            lambda x: torch.zeros(()).copy_(x),
        ],
    )
    def test_a_value_brought_here_is_seen(self, place, question):
        x = place.send(torch.ones(()))
        assert not place.waited
        question(x)
        assert place.waited.total() >= 1

    @pytest.mark.parametrize(
        ("message", "size"),
        [
            (lambda x: torch.ones(5).to(x), 20),
            (lambda x: torch.tensor([1.0, 2.0], device=x.device), 8),
            (lambda x: x.new_tensor([1.0, 2.0]), 8),
            (lambda x: x[torch.tensor([0, 1])], 16),
            (lambda x: x.copy_(torch.ones(3, dtype=torch.float64)), 24),
            (lambda x: torch.arange(3, device=x.device), 0),
            (lambda x: x + 2 * x.new_full((), 3.0), 0),
        ],
    )
    def test_what_is_sent_is_counted(self, place, message, size):
        x = place.send(torch.ones(3))
        place.bytes_sent.clear()
        assert isinstance(message(x), Away)
        assert place.bytes_sent.total() == size

    def test_numpy_cannot_reach_it(self, place):
        with pytest.raises((RuntimeError, TypeError)):
            place.send(torch.ones(3)).numpy()


def draws_well_there(place: Elsewhere, problem: Objective, method: Estimator) -> None:
    """Hold what is sent against twice the draws, and what is waited for against ``WAITS``."""
    draw_there(place, problem, method, 1)  # tables that are kept go there once
    waited, few = draw_there(place, problem, method, DRAWS)
    _, many = draw_there(place, problem, method, 2 * DRAWS)
    assert few == many, f"{method.name} sends {few} bytes with {DRAWS} draws, {many} with twice"
    if not method.constant:  # found once
        lines = {line for line in waited if line.rpartition(":")[0] not in WAITS}
        assert lines == set(), method.name


@pytest.mark.parametrize("where", panel.OBJECTIVES)
def test_every_estimator_draws_elsewhere(place, where):
    """Nothing is made here that is used there, and what is sent does not grow with the draws."""
    problem = panel.objective(where)
    for which in fitting(where):
        method = panel.estimator(which)
        if method.tune is None:
            draws_well_there(place, problem, method)


@pytest.mark.parametrize("which", TUNABLE)
def test_every_estimator_is_tuned_and_draws_elsewhere(place, which):
    """On one objective of every kind of latents that it takes."""
    method = panel.estimator(which)
    assert method.tune is not None
    seen = set()
    for where in panel.OBJECTIVES:
        problem = panel.objective(where)
        if problem.family.name in seen or not panel.fits(problem, method):
            continue
        seen.add(problem.family.name)
        params = place.send(problem.params.float())
        tuned = method.tune(problem, params, AwayNoise(3, "tune", device=THERE))
        draws_well_there(place, problem, tuned)
    assert seen


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_is_evaluated_elsewhere(place, name):
    """At its defaults: its cost, its slopes and its exact gradient."""
    problem = build_objective(name)
    for method in map(build_estimator, ("exact", "score_function", *SLOPES)):
        if panel.fits(problem, method):
            draws_well_there(place, problem, method)


def test_tables_of_costs_are_left_to_the_cpu(place):
    """They ask at every evaluation whether z is at corners: a GPU would wait for each answer."""
    problem, method = panel.objective("coupled"), panel.estimator("score_function")
    params, draws = problem.params.float(), 2**20
    assert tabulated_if_worth(problem, method, params, draws) is not problem
    assert tabulated_if_worth(problem, method, place.send(params), draws) is problem


@pytest.mark.parametrize(
    ("where", "which"),
    [(where, "score_function") for where in KINDS]
    + [("coupled", which) for which in fitting("coupled") if which in TUNABLE],
)
def test_a_cell_is_measured_elsewhere(place, where, which, monkeypatch):
    """With its exact moments, which are summed here, also where it was tuned there."""
    monkeypatch.setattr(cell, "Noise", AwayNoise)
    problem, method = panel.objective(where), panel.estimator(which)
    found = measure_cell(problem, method, draws=64, blocks=4, device=str(THERE), timing=0)
    assert found.blocks.count.sum() == 64
    assert np.isfinite(found.blocks.powers).all()
    if not method.tune:
        assert (found.exact is None) == (problem.family.states is None)
        rooms = {line.partition("/")[0] for line in place.waited}
        assert rooms <= {"measurement", "families"}, place.waited


def test_moments_elsewhere_wait_twice_a_chunk(place):
    """Whatever the number of parameters, of powers and of blocks."""

    def waits(chunks: int) -> int:
        sums = BlockSums(place.send(torch.zeros(80)), blocks=4)
        place.waited.clear()
        for number in range(chunks):
            sums.add(AwayNoise(number, device=THERE).normal(64, 80))
        return place.waited.total()

    assert waits(9) - waits(1) <= 2 * 8


class TestTiming:
    """The arithmetic of a GPU's clock, with one made up."""

    @pytest.fixture
    def clock(self, monkeypatch):
        """A device on which a call takes 2 ms and the host is told at once."""
        state = {"now": 0.0, "calls": 0, "waits": 0}

        class Event:
            def __init__(self, enable_timing: bool) -> None:
                assert enable_timing
                self.at = float("nan")

            def record(self) -> None:
                self.at = state["now"]

            def elapsed_time(self, end: Event) -> float:
                return 1e3 * (end.at - self.at)  # in ms, as torch's

        def wait() -> None:
            state["waits"] += 1

        monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "synchronize", wait)
        return state

    def work(self, clock, seconds: float = 0.002):
        def call() -> None:
            clock["calls"] += 1
            clock["now"] += seconds

        return call

    def test_a_call_takes_what_the_device_says(self, clock):
        spent, wall = timing._on_gpu(torch.device("cuda"), self.work(clock))
        assert spent == pytest.approx(0.002)
        assert 0 < wall < 0.002  # nothing was done here
        assert clock["now"] >= timing.BLOCK_SECONDS
        assert clock["waits"] < clock["calls"] / 2  # and the calls did not wait for each other

    @pytest.mark.parametrize("seconds", [1e-7, 1e-3, 1.0])
    def test_it_runs_long_enough_and_not_for_ever(self, clock, seconds):
        spent, _ = timing._on_gpu(torch.device("cuda"), self.work(clock, seconds))
        assert spent == pytest.approx(seconds)
        assert clock["calls"] * seconds < 3 * timing.BLOCK_SECONDS + 2 * seconds

    def test_a_ratio_is_of_one_estimate_to_one_row(self, clock, monkeypatch):
        kernel = self.work(clock, 0.004)
        monkeypatch.setattr(reference_cuda, "reference_kernel", lambda _: kernel())
        found = timing.time_draws(self.work(clock, 0.002), 100, 3, "cuda:0")
        assert found.cpu_ratios == pytest.approx((0.5 * reference_cuda.ROWS / 100,) * 3)
        assert [spent for spent, _ in found.seconds] == pytest.approx([2e-5] * 3)

    def test_the_cpu_is_timed_as_before(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "Event", None)
        found = timing.time_draws(reference.reference_kernel, reference.ROWS, 2)
        assert len(found.cpu_ratios) == len(found.seconds) == 2
        assert all(0.3 < ratio < 3 for ratio in found.cpu_ratios)  # of the kernel to itself

    def test_the_kernels_have_names_of_their_own(self):
        assert timing.reference_version("cpu") == reference.VERSION == "reference-1"
        assert timing.reference_version("cuda:1") == reference_cuda.VERSION == "reference-1-cuda"

    def test_the_kernels_do_the_same_work(self, monkeypatch):
        monkeypatch.setattr(reference_cuda, "ROWS", reference.ROWS)
        found = float(reference_cuda.reference_kernel(torch.device("cpu")))
        assert found == pytest.approx(8 * reference.ROWS)  # a softmax sums to 1
        assert reference.reference_kernel() == pytest.approx(8 * reference.ROWS)


# From here on with a GPU.


def cuda_draws(where: str, which: str, draws: int, seed: int, device: str = "cuda") -> torch.Tensor:
    problem, method = panel.objective(where), panel.ready(where, which)
    noise = Noise(seed, "two", device=device)
    with torch.no_grad():
        return method.draw(problem, problem.params.float().to(device), draws, noise)


@ON_GPU
@pytest.mark.parametrize("where", panel.OBJECTIVES)
def test_every_estimator_draws_on_a_gpu(where):
    for which in fitting(where):
        found = cuda_draws(where, which, DRAWS, 5)
        assert found.device.type == "cuda", which
        assert torch.isfinite(found).all(), which


@ON_GPU
@pytest.mark.parametrize("where", KINDS)
def test_draws_on_a_gpu_repeat(where):
    one, again, other = (cuda_draws(where, "score_function", 64, seed) for seed in (5, 5, 6))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@ON_GPU
def test_a_stream_on_a_gpu_has_an_address():
    streams = [Noise(3, *path, device="cuda") for path in (("a",), ("a", 1), ("b",))]
    streams.append(streams[0].child(1))
    numbers = [stream.uniform(1000) for stream in streams]
    assert torch.equal(numbers[1], numbers[3])
    assert not any(torch.equal(numbers[0], other) for other in numbers[1:3])
    assert all(0 < float(u.min()) < float(u.max()) < 1 for u in numbers)


@ON_GPU
@pytest.mark.parametrize("which", ["score_function", "leave_one_out", "gumbel_softmax", "rebar"])
@pytest.mark.parametrize("where", ["coupled", "smooth"])
def test_a_gpu_draws_from_the_law_of_the_cpu(where, which):
    """Kolmogorov and Smirnov's two-sample test of every coordinate, at 1e-6 in all."""
    draws = 20_000
    here = cuda_draws(where, which, draws, 7, "cpu").flatten(1).numpy()
    there = cuda_draws(where, which, draws, 8).flatten(1).cpu().numpy()
    least = min(ks_2samp(a, b).pvalue for a, b in zip(here.T, there.T, strict=True))
    assert least * here.shape[1] > 1e-6


@ON_GPU
@pytest.mark.parametrize("where", KINDS)
def test_a_cell_is_measured_on_a_gpu(where):
    """Its mean agrees with the exact gradient as the CPU's does: |t| of blocks, at 1e-6 in all."""
    problem, method = panel.objective(where), panel.estimator("score_function")
    found = measure_cell(problem, method, draws=65_536, device="cuda", timing=2)
    assert found.blocks.count.sum() == 65_536
    assert found.facts["reference"] == "reference-1-cuda"
    assert all(ratio > 0 for ratio in found.times.cpu_ratios)
    assert all(0 < spent <= 1.1 * wall for spent, wall in found.times.seconds)
    means = found.blocks.first / found.blocks.count[:, None]
    error = means.std(0, ddof=1) / len(means) ** 0.5
    t = np.abs(means.mean(0)) / np.where(error > 0, error, np.inf)
    assert t.max() < 8  # t of 63 degrees: 4e-11 each


@ON_GPU
def test_moments_on_a_gpu_wait_once_a_chunk():
    sums = BlockSums(torch.zeros(80, device="cuda"), blocks=4)
    chunk = torch.randn(80, 4096, device="cuda").T
    sums.add(chunk)  # the first finds the scale
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            sums.add(chunk)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert sum("synchroniz" in str(each.message) for each in said) <= 2


@ON_GPU
def test_a_chunk_on_a_gpu_is_larger():
    problem, method = panel.objective("smooth"), panel.estimator("score_function")
    assert chunk_draws(problem, method, "cuda") > chunk_draws(problem, method)
