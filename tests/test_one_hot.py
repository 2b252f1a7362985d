"""One-hot vectors by every way of making them: short and long rows, compiled or not; bit by bit."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import Tensor

from benchbed.families import BERNOULLI, CATEGORICAL
from benchbed.families._one_hot import LONG_ROWS, of_interval, of_largest
from benchbed.families.bernoulli import either
from benchbed.measurement.draw_graph import compiling
from benchbed.rng import Noise

EVERY_LENGTH = pytest.mark.parametrize("n", [7, LONG_ROWS - 1, LONG_ROWS, LONG_ROWS + 1])
EVERY_DTYPE = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["32", "64"])
EVERY_WAY = pytest.mark.parametrize(
    "way", [contextlib.nullcontext, compiling], ids=["plain", "compiled"]
)


def noise_of(*path: str | int, dtype: torch.dtype = torch.float64) -> Noise:
    return Noise(43, "one hot", *path, dtype=dtype)


def interval_by_search(u: Tensor, cdf: Tensor) -> Tensor:
    """Count the boundaries at or below u [s, d, n], one after the other; cdf [d, K - 1]."""
    index = torch.zeros_like(u, dtype=torch.int64)
    for k in range(cdf.shape[-1]):
        index += u >= cdf[:, k, None]
    hot = torch.nn.functional.one_hot(index, cdf.shape[-1] + 1)
    return hot.movedim(-1, -2).to(u.dtype)


@EVERY_WAY
@EVERY_DTYPE
@EVERY_LENGTH
def test_the_interval_is_the_one_that_a_search_finds(n, dtype, way):
    cdf = torch.tensor([[0.2, 0.2, 0.7], [0.0, 0.5, 1.0]], dtype=dtype)
    u = noise_of("interval", dtype=dtype).uniform(n, 2, 2).movedim(0, -1).contiguous()
    u[0, :, :3] = torch.tensor([0.2, 0.5, 0.7], dtype=dtype)  # a boundary belongs to what is above
    with way():
        found = of_interval(u, cdf[..., None])
    assert found.dtype == dtype
    assert torch.equal(found, interval_by_search(u, cdf))
    assert not torch.equal(found, interval_by_search(u, cdf.nextafter(cdf + 1)))


@EVERY_WAY
@EVERY_LENGTH
def test_a_draw_may_have_boundaries_of_its_own(n, way):
    cdf = noise_of("own").uniform(n, 2, 3).sort(-1).values.movedim(0, -1)  # [2, 3, n]
    u = noise_of("u").uniform(n, 2).movedim(0, -1)
    with way():
        found = of_interval(u, cdf)
    alone = [of_interval(u[:, k : k + 1], cdf[..., k : k + 1]) for k in range(min(n, 50))]
    assert torch.equal(found[..., : len(alone)], torch.cat(alone, -1))


@EVERY_WAY
@EVERY_LENGTH
def test_of_equals_the_first_is_the_largest(n, way):
    x = noise_of("largest").uniform(n, 2, 5).movedim(0, -1).contiguous()
    x[1, 3, n // 2] = x[1, 1, n // 2] = 2.0
    x[0, :, n - 1] = 0.5
    with way():
        found = of_largest(x, x.amax(-2, keepdim=True))
    index = x.argmax(-2)
    index[1, n // 2], index[0, n - 1] = 1, 0
    expected = torch.nn.functional.one_hot(index, 5).movedim(-1, -2).to(x.dtype)
    assert torch.equal(found, expected)


def test_one_of_two_numbers_keeps_its_digits():
    """At z = 1 a tiny number beside a large one is what it was."""
    zero, one = torch.tensor([-1.0, 1e-20, 3.0]), torch.tensor([1e-20, -1.0, 1e-30])
    assert torch.equal(either(torch.ones(4, 3), zero, one), one.expand(4, 3))
    assert torch.equal(either(torch.zeros(4, 3), zero, one), zero.expand(4, 3))
    lost = zero + torch.ones(4, 3) * (one - zero)
    assert not torch.equal(lost, one.expand(4, 3))


BROADCAST = {  # axes of params before the variables, axes of z
    "one law": ((), (7,)),
    "items": ((3,), (7, 2, 3)),
    "particles": ((3, 1), (7, 2, 3, 5)),
    "of every draw": ((7, 2, 3), (7, 2, 3)),
    "of every draw, all samples": ((7, 1, 3), (7, 2, 3)),
    "particles of every draw": ((7, 2, 3, 1), (7, 2, 3, 5)),
    "one value": ((), ()),
    "every item with every value": ((3, 1), (5,)),
}


@pytest.mark.parametrize("name", BROADCAST)
@pytest.mark.parametrize("family", [BERNOULLI, CATEGORICAL], ids=lambda family: family.name)
def test_log_probability_and_its_slopes_however_they_broadcast(family, name):
    lead, rows = BROADCAST[name]
    event = (4,) if family is BERNOULLI else (2, 4)
    params, z = torch.empty(*lead, *event), torch.empty(*rows, *event)
    noise = noise_of("broadcast", name)
    leaves = [noise.normal(1, x.numel()).reshape(x.shape).requires_grad_() for x in (params, z)]
    found, expected = family.log_prob(*leaves), written_out(family is BERNOULLI, *leaves)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    weight = noise.normal(1, found.numel()).reshape(found.shape)
    for one, other in zip(
        torch.autograd.grad((found * weight).sum(), leaves),
        torch.autograd.grad((expected * weight).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def written_out(bits: bool, params: Tensor, z: Tensor) -> Tensor:
    """Return <z, log pi>, summed over the variables."""
    if bits:
        return (z * params.sigmoid().log() + (1 - z) * (1 - params.sigmoid()).log()).sum(-1)
    return (z * params.log_softmax(-1)).sum((-2, -1))
