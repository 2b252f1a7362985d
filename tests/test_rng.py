"""Noise: a number depends on its address, has the law it is named after, and is never infinite."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch

from benchbed import rng
from benchbed.layout import draws_last
from benchbed.rng import Noise, OneStreamNeeded, SideBySide, address

FALSE_ALARM = 1e-4  # the chance that a sound generator fails one Kolmogorov-Smirnov test below
COUNT = 20_000
SHAPE = (5, 2, 3)
LAWS = {
    "uniform": scipy.stats.uniform(),
    "exponential": scipy.stats.expon(),
    "gumbel": scipy.stats.gumbel_r(),
    "logistic": scipy.stats.logistic(),
    "normal": scipy.stats.norm(),
}
# A fault of each law, small enough to pass for the right one in a plot.
FAULTS = {
    "uniform": lambda x: x**1.1,
    "exponential": lambda x: 1.15 * x,
    "gumbel": lambda x: x + 0.1,
    "logistic": lambda x: 1.2 * x,
    "normal": lambda x: 1.15 * x,
}
BOTH = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["32", "64"])


def p_value(values: torch.Tensor, law: str) -> float:
    flat = values.double().flatten().numpy()
    return float(scipy.stats.kstest(flat, LAWS[law].cdf).pvalue)


def p_value_of_integers(values: torch.Tensor, high: int) -> float:
    counts = torch.bincount(values.flatten(), minlength=high)
    return float(scipy.stats.chisquare(counts.numpy()).pvalue)


def block_streams() -> list[torch.Tensor]:
    return [Noise(9, "block", i, dtype=torch.float64).normal(2_000) for i in range(401)]


def z_of_neighbours(streams: list[torch.Tensor]) -> float:
    """Return the mean correlation of neighbouring streams over its standard error."""
    products = torch.stack([(a * b).mean() for a, b in itertools.pairwise(streams)])
    return float(products.mean() / (products.std() / math.sqrt(len(products))))


class TestAddress:
    def test_seeds_that_share_32_bits_differ(self):
        """PyTorch's own generator gives these two seeds one stream."""
        twins = (7, 7 + 2**32)
        a, b = (torch.rand(9, generator=torch.Generator().manual_seed(s)) for s in twins)
        assert torch.equal(a, b)
        a, b = (Noise(s, "stream").uniform(9) for s in twins)
        assert not torch.equal(a, b)

    def test_every_part_counts(self):
        keys = [
            address(1, "a", "b"),
            address(2, "a", "b"),
            address(-1, "a", "b"),
            address(1, "b", "a"),
            address(1, "a"),
            address(1, "a", "b", ""),
            address(1, "ab"),
            address(1, "", "ab"),
            address(1, "a", "b", 0),
            address(1, "a", "b", 1),
            address(11, "a", "b"),
            address(1, 1, "a", "b"),
        ]
        assert len(set(keys)) == len(keys)
        assert {len(key) for key in keys} == {16}

    def test_a_part_is_its_text(self):
        """A block number may come as a number or read back from a file."""
        assert address(1, "block", 3) == address(1, "block", "3")

    def test_known_key(self):
        """Stored numbers can only be made again while the address scheme stands."""
        assert address(0).hex() == "1240a4684403b160e6597a653a88f56c"
        assert address(7, "block", 3).hex() == "2d027b6aeafca53cb78321fce9b6cc53"

    @BOTH
    def test_the_same_address_repeats_bit_for_bit(self, dtype):
        first, again = (Noise(3, "again", 4, dtype=dtype) for _ in range(2))
        for law in LAWS:
            assert torch.equal(getattr(first, law)(*SHAPE), getattr(again, law)(*SHAPE))
        assert torch.equal(first.integers(6, *SHAPE), again.integers(6, *SHAPE))

    def test_a_stream_moves_on(self):
        noise = Noise(3, "again")
        assert not torch.equal(noise.uniform(9), noise.uniform(9))

    def test_a_child_does_not_depend_on_what_was_drawn(self):
        fresh, used = Noise(5, "parent"), Noise(5, "parent")
        used.uniform(1000)
        assert torch.equal(fresh.child("a", 2).uniform(9), used.child("a", 2).uniform(9))
        assert torch.equal(
            fresh.child("a").child(2).uniform(9), Noise(5, "parent", "a", 2).uniform(9)
        )

    def test_a_child_keeps_the_dtype_and_differs_from_its_parent_and_siblings(self):
        parent = Noise(5, "parent", dtype=torch.float64)
        streams = [parent, parent.child("a"), parent.child("b"), parent.child("a", "a")]
        values = [stream.uniform(9) for stream in streams]
        assert {value.dtype for value in values} == {torch.float64}
        assert len({value[0].item() for value in values}) == len(values)

    def test_neighbouring_streams_are_uncorrelated(self):
        assert abs(z_of_neighbours(block_streams())) < scipy.stats.norm.isf(FALSE_ALARM / 2)

    def test_the_test_above_sees_a_shared_hundredth(self):
        """Streams with 1 % of their variance in common."""
        shared = Noise(10, "shared", dtype=torch.float64).normal(2_000)
        assert z_of_neighbours([x + 0.1 * shared for x in block_streams()]) > 6


class TestLayout:
    @BOTH
    @pytest.mark.parametrize("law", LAWS)
    def test_shape_dtype_and_memory(self, law, dtype):
        for shape in [(7,), (7, 2), SHAPE, (4, 2, 3, 5), (1, 1), (0, 3)]:
            drawn = getattr(Noise(1, dtype=dtype), law)(*shape)
            assert drawn.shape == shape
            assert drawn.dtype == dtype
            assert draws_last(drawn).is_contiguous()

    @BOTH
    def test_integers(self, dtype):
        drawn = Noise(1, dtype=dtype).integers(3, *SHAPE)
        assert drawn.shape == SHAPE
        assert drawn.dtype == torch.int64
        assert draws_last(drawn).is_contiguous()

    def test_the_numbers_handed_out_are_counted(self):
        noise = Noise(1)
        assert noise.drawn == 0
        for count, law in enumerate([*LAWS], 1):
            getattr(noise, law)(*SHAPE)
            assert noise.drawn == count * math.prod(SHAPE)
        noise.integers(4, 10)
        assert noise.drawn == len(LAWS) * math.prod(SHAPE) + 10
        assert noise.child("a").drawn == 0


class TestLaw:
    @pytest.mark.parametrize("law", LAWS)
    def test_law_number_by_number(self, law):
        """The inverse CDF of the same uniforms: an error of scale too small for the test below."""
        u = Noise(13, "same", dtype=torch.float64).uniform(1_000).numpy()
        drawn = getattr(Noise(13, "same", dtype=torch.float64), law)(1_000).numpy()
        inverse = LAWS[law].isf if law == "exponential" else LAWS[law].ppf  # -log u, not -log1p(-u)
        np.testing.assert_allclose(drawn, inverse(u), rtol=1e-11, atol=1e-13)

    @BOTH
    @pytest.mark.parametrize("law", LAWS)
    def test_law(self, law, dtype):
        drawn = getattr(Noise(11, "law", law, dtype=dtype), law)(COUNT // 4, 2, 2)
        assert p_value(drawn, law) > FALSE_ALARM

    @pytest.mark.parametrize("law", LAWS)
    def test_the_test_above_sees_a_fault(self, law):
        drawn = getattr(Noise(11, "law", law, dtype=torch.float64), law)(COUNT // 4, 2, 2)
        assert p_value(FAULTS[law](drawn), law) < FALSE_ALARM / 10

    @BOTH
    @pytest.mark.parametrize("high", [1, 2, 7, 100])
    def test_integers(self, high, dtype):
        drawn = Noise(12, "integers", high, dtype=dtype).integers(high, COUNT // 4, 2, 2)
        assert drawn.min() >= 0
        assert drawn.max() == high - 1
        assert high == 1 or p_value_of_integers(drawn, high) > FALSE_ALARM

    def test_the_test_above_sees_rounding_to_the_nearest(self):
        """Rounding gives the two ends half their share."""
        drawn = (Noise(12, "integers", 7).uniform(COUNT) * 6).round().long()
        assert p_value_of_integers(drawn, 7) < FALSE_ALARM / 10


class Stuck:
    """A bit generator that only ever returns one word."""

    def __init__(self, word: int) -> None:
        self.word = word

    def random_raw(self, count: int) -> np.ndarray:
        return np.full(count, self.word, dtype=np.uint64)


class TestEnds:
    @BOTH
    @pytest.mark.parametrize("end", ["lowest", "highest"])
    def test_nothing_is_infinite_at_the_ends_of_the_generator(self, end, dtype):
        noise = Noise(1, dtype=dtype)
        noise._bits = Stuck(0 if end == "lowest" else 2**64 - 1)
        u = noise.uniform(3)
        assert (u > 0).all()
        assert (u < 1).all()
        assert (noise.exponential(3) > 0).all()
        for law in LAWS:
            assert torch.isfinite(getattr(noise, law)(3)).all(), law
        assert noise.integers(7, 3).tolist() == [0 if end == "lowest" else 6] * 3

    def test_without_the_clamp_a_zero_gives_infinities(self, monkeypatch):
        """Otherwise the test above would prove nothing."""
        monkeypatch.setitem(rng.SMALLEST, torch.float64, 0.0)
        noise = Noise(1, dtype=torch.float64)
        noise._bits = Stuck(0)
        assert (noise.uniform(3) == 0).all()
        for law in ("exponential", "gumbel", "logistic", "normal"):
            assert torch.isinf(getattr(noise, law)(3)).all(), law

    def test_float32_lies_between_the_points_of_its_grid(self):
        """(k + 1/2) / 2^23, each k of either half of a word: never 0 or 1, and 1 - u is exact."""
        u = Noise(1, "zero", 5).uniform(2**20)
        halves = np.random.SFC64(int.from_bytes(address(1, "zero", 5), "little")).random_raw(2**19)
        k = (halves.view(np.uint32) >> 9).astype(np.float64)
        np.testing.assert_array_equal(u.double().numpy(), (k + 0.5) / 2**23)
        np.testing.assert_array_equal((1 - u).double().numpy(), 1 - (k + 0.5) / 2**23)

    def test_float64_is_numpys_own(self):
        host = np.random.Generator(np.random.SFC64(int.from_bytes(address(2, "a"), "little")))
        ours = Noise(2, "a", dtype=torch.float64).uniform(5, 3)
        assert torch.equal(draws_last(ours), torch.from_numpy(host.random((3, 5))))


class TestSideBySide:
    def test_each_stream_fills_its_own_share(self):
        """With children, and counting the numbers of one stream."""
        apart = [Noise(4, "block", number) for number in range(3)]
        together = SideBySide([Noise(4, "block", number) for number in range(3)])
        for law in LAWS:
            expected = torch.cat([getattr(noise, law)(5, 2, 3) for noise in apart])
            found = getattr(together, law)(15, 2, 3)
            assert torch.equal(found, expected)
            assert draws_last(found).is_contiguous()
        assert together.drawn == apart[0].drawn == len(LAWS) * 30
        expected = torch.cat([noise.child("a", noise.drawn).integers(7, 4, 2) for noise in apart])
        assert torch.equal(together.child("a", together.drawn).integers(7, 12, 2), expected)
        together.drawn += 5
        assert {noise.drawn for noise in together.streams} == {apart[0].drawn + 5}

    @pytest.mark.parametrize(
        "ask",
        [
            lambda noise: noise.seed,
            lambda noise: noise.path,
            lambda noise: noise.torch_generator(),
            lambda noise: noise.uniform(7, 2),
        ],
    )
    def test_what_one_stream_alone_can_give_is_refused(self, ask):
        with pytest.raises(OneStreamNeeded):
            ask(SideBySide([Noise(4, 1), Noise(4, 2)]))


class TestOtherGenerators:
    def test_global_generators_are_left_alone(self):
        torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
        noise = Noise(1, "alone")
        for law in LAWS:
            getattr(noise, law)(*SHAPE)
        noise.integers(4, *SHAPE)
        torch.rand(3, generator=noise.torch_generator())
        assert torch.equal(torch_before, torch.get_rng_state())
        assert (numpy_before == np.random.get_state()[1]).all()

    def test_the_global_seeds_change_nothing(self):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            one = Noise(1, "alone").normal(9)
            torch.manual_seed(2)
            two = Noise(1, "alone").normal(9)
        assert torch.equal(one, two)

    def test_torch_generator_repeats_and_follows_the_address(self):
        used = Noise(1, "torch")
        used.uniform(5)
        first, again, other = (
            torch.rand(9, generator=noise.torch_generator())
            for noise in (Noise(1, "torch"), used, Noise(1, "other"))
        )
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
