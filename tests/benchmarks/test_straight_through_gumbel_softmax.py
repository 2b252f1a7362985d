"""Straight-through Gumbel-Softmax at d = 8, K = 10, one thread, against what people write.

All three sides give gradients AND their mean and variance, on the same cost, in one process:

- benchbed: the estimator, with the power sums of its blocks;
- the batched code a user writes: parameters expanded to a leaf, ``F.gumbel_softmax(hard=True)``,
  one backward pass for the batch, ``torch.var_mean``;
- a Python loop with one backward call for each estimate.
"""

from __future__ import annotations

import time

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchbed.catalogue import build_estimator, build_objective
from benchbed.measurement.cell import chunk_draws
from benchbed.measurement.moments import BlockSums
from benchbed.rng import Noise

TEMPERATURE = 0.5
OBJECTIVE = build_objective("polynomial", dimensions=8, categories=10)
ESTIMATOR = build_estimator("straight_through_gumbel_softmax", temperature=TEMPERATURE)
PARAMS = OBJECTIVE.params.float()
CHUNK = chunk_draws(OBJECTIVE, ESTIMATOR)
CENTRE = OBJECTIVE.exact_gradient().float().flatten()
PLACES = torch.linspace(0, 1, 10)


def cost_of(z: Tensor) -> Tensor:
    """Return mean |value - 0.45|^2 of one-hots [..., 8, 10], as anyone would write it."""
    return ((z * PLACES).sum(-1) - 0.45).pow(2).mean(-1)


def benchbed_chunk(noise: Noise, sums: BlockSums) -> None:
    """Draw one chunk and add its power sums."""
    sums.add(OBJECTIVE.pullback(ESTIMATOR.draw(OBJECTIVE, PARAMS, CHUNK, noise)))


def batched_code(draws: int) -> tuple[Tensor, Tensor]:
    """Return variance and mean of a batch, by the usual batched code."""
    leaf = PARAMS.expand(draws, 8, 10).clone().requires_grad_()
    z = F.gumbel_softmax(leaf, tau=TEMPERATURE, hard=True)
    cost_of(z).sum().backward()
    return torch.var_mean(leaf.grad, 0)


def loop_of_backward_calls(draws: int) -> tuple[Tensor, Tensor]:
    """Return variance and mean, one backward call an estimate."""
    rows = []
    for _ in range(draws):
        leaf = PARAMS.clone().requires_grad_()
        z = F.gumbel_softmax(leaf, tau=TEMPERATURE, hard=True)
        cost_of(z).backward()
        rows.append(leaf.grad)
    return torch.var_mean(torch.stack(rows), 0)


@pytest.fixture(autouse=True)
def one_thread():
    """Give both sides one thread, and nobody autograd by accident."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_three_sides_estimate_the_same_thing():
    """Means agree within five standard errors, so the comparison is of like with like."""
    noise, sums = Noise(61), BlockSums(CENTRE)
    for _ in range(20):
        benchbed_chunk(noise, sums)
    ours = CENTRE.double() + torch.from_numpy(sums.arrays()[0][0]) / sums.count
    torch.manual_seed(61)
    variance, mean = batched_code(20 * CHUNK)
    error = (2 * variance.flatten() / (20 * CHUNK)).sqrt()
    assert ((ours - mean.flatten()).abs() / error).max() < 5
    variance, mean = loop_of_backward_calls(2_000)
    error = (variance.flatten() / 2_000).sqrt() + 1e-6
    assert ((ours - mean.flatten()).abs() / error).max() < 5


def test_benchbed(benchmark):
    """Time one chunk of benchbed."""
    noise, sums = Noise(62), BlockSums(CENTRE)
    benchmark.extra_info["draws"] = CHUNK
    benchmark(benchbed_chunk, noise, sums)


def test_batched_code(benchmark):
    """Time the usual batched code on the same number of draws."""
    benchmark.extra_info["draws"] = CHUNK
    benchmark(batched_code, CHUNK)


def test_loop(benchmark):
    """Time 50 turns of the loop."""
    benchmark.extra_info["draws"] = 50
    benchmark(loop_of_backward_calls, 50)


def test_ratios():
    """At least 3 times the batched code, at any batch size it likes, and 100 times the loop.

    Sides alternate within one run; the smallest of several times stands for each, since other
    work on the machine only ever adds to it.
    """
    noise, sums = Noise(63), BlockSums(CENTRE)

    def ours() -> float:
        return _seconds(lambda: benchbed_chunk(noise, sums)) / CHUNK

    sizes = (512, 2_048, 8_192)
    times: dict[str, list[float]] = {"ours": [], "loop": []} | {str(n): [] for n in sizes}
    for _ in range(7):
        times["ours"].append(ours())
        for size in sizes:
            times[str(size)].append(_seconds(lambda size=size: batched_code(size)) / size)
        times["loop"].append(_seconds(lambda: loop_of_backward_calls(50)) / 50)
    best = {name: min(values) for name, values in times.items()}
    batched = min(best[str(size)] for size in sizes)
    print(
        f"thousand gradients/s: benchbed {1e-3 / best['ours']:.0f}, "
        f"batched code {1e-3 / batched:.0f}, loop {1e-3 / best['loop']:.1f}; "
        f"ratios {batched / best['ours']:.2f} and {best['loop'] / best['ours']:.0f}"
    )
    assert batched / best["ours"] >= 3
    assert best["loop"] / best["ours"] >= 100


def _seconds(work) -> float:
    work()
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < 0.1:
        work()
        calls += 1
    return (time.perf_counter() - start) / calls
