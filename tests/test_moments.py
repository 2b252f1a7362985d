"""The sums of a block: right at every scale, whatever the chunks, and open about lost draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchbed.measurement.moments import BlockSums


def gradients(n: int = 4_096, scale: float = 1.0, dtype=torch.float32) -> torch.Tensor:
    """Return skewed draws [n, 3]."""
    rng = np.random.default_rng(71)
    return torch.from_numpy(rng.exponential(size=(n, 3)) * scale).to(dtype)


@pytest.mark.parametrize("scale", [1e-25, 1e-12, 1.0, 1e10, 1e25])
def test_sums_are_right_at_every_scale(scale):
    """Fourth powers of 1e-12 or 1e10 leave float32's range; the sums may not."""
    draws, centre = gradients(scale=scale), torch.full((3,), 0.5 * scale)
    sums = BlockSums(centre)
    for chunk in draws.split(1_000):
        sums.add(chunk)
    powers, largest, distance = (array[..., 0] for array in sums.arrays())
    error = (draws.double() - centre.double()).numpy()
    for k in range(4):
        np.testing.assert_allclose(powers[k], (error ** (k + 1)).sum(0), rtol=1e-5)
    np.testing.assert_allclose(largest, np.abs(error).max(0), rtol=1e-6)
    squares = np.square(error).sum(1)
    np.testing.assert_allclose(
        distance, [squares.sum(), np.square(squares).sum(), squares.max()], rtol=1e-5
    )
    assert (sums.nonfinite[0], sums.count[0]) == (0, 4_096)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_draws_that_are_not_finite_are_counted_and_in_no_sum(bad):
    draws, sums, clean = gradients(), BlockSums(torch.zeros(3)), BlockSums(torch.zeros(3))
    keep = torch.ones(len(draws), dtype=torch.bool)
    draws[5, 1] = draws[7, 0] = bad
    keep[[5, 7]] = False
    sums.add(draws)
    clean.add(draws[keep])
    assert (sums.nonfinite[0], sums.count[0]) == (2, 4_094)
    for left, right in zip(sums.arrays(), clean.arrays(), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5)


def test_huge_but_finite_draws_among_small_ones_are_kept():
    draws, sums = gradients(), BlockSums(torch.zeros(3))
    sums.add(draws[:10])
    draws[100] = 1e30
    sums.add(draws[10:])
    assert sums.nonfinite[0] == 0
    np.testing.assert_allclose(sums.arrays()[1], 1e30, rtol=1e-6)


def test_no_finite_draw_at_all():
    sums = BlockSums(torch.zeros(3))
    sums.add(torch.full((8, 3), float("nan")))
    assert (sums.nonfinite[0], sums.count[0]) == (8, 0)
    assert np.isfinite(sums.arrays()[0]).all()


@pytest.mark.parametrize("bad", [False, True])
def test_blocks_side_by_side_are_kept_apart(bad):
    draws = gradients().reshape(4, 1_024, 3).clone()
    if bad:
        draws[2, 7, 1] = float("nan")
        draws[3, 9] = 1e30  # squares beyond float32
    centre = torch.tensor([0.5, 1.0, 2.0])
    together = BlockSums(centre, blocks=4)
    for chunk in draws.split(512, dim=1):
        together.add(chunk.flatten(0, 1))
    for number, own in enumerate(draws):
        alone = BlockSums(centre)
        alone.add(own)
        assert together.count[number] == alone.count[0] == 1_024 - (bad and number == 2)
        assert together.nonfinite[number] == alone.nonfinite[0] == (bad and number == 2)
        for left, right in zip(together.arrays(), alone.arrays(), strict=True):
            np.testing.assert_allclose(left[..., number], right[..., 0], rtol=1e-4)
