"""How much of a processor's memory bandwidth the draws use: the roofline of work that is all data.

An estimate must write its random numbers and its gradient once, 4 bytes each in float32; nothing
else has to move. Those bytes a second, as a share of the bytes that a large copy moves a second on
the same device, is the share of the roofline: 1 where the noise is made and the gradients are
written as fast as memory takes them, with the rest of the work hidden behind that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import pytest
import torch
from jobs import Job, job
from measured import fitting
from pairs import tuned

from benchbed.contracts import Estimator
from benchbed.measurement.cell import chunk_draws
from benchbed.measurement.timing import time_draws
from benchbed.rng import Noise

TITLES = ("categorical, d = 8, K = 10", "Bernoulli, d = 20")
COPIED = {"cpu": 2**26, "cuda": 2**29}  # bytes: more than any cache holds
VALUES = 2**25  # random numbers in a chunk on a GPU
BYTES = 4  # of a float32
REPEATS = 3


@dataclass(frozen=True)
class Share:
    """One estimator under the roofline."""

    title: str
    name: str
    moved: int  # bytes that one estimate must move
    seconds: float  # of one estimate: CPU time, or the GPU's
    bandwidth: float  # bytes a second of a copy

    @property
    def of_roofline(self) -> float:
        """Return the share of the bandwidth that the bytes take which must move."""
        return self.moved / self.seconds / self.bandwidth

    def __str__(self) -> str:
        """Write a row of the table."""
        return (
            f"| {self.title} | `{self.name}` | {self.moved} | {self.seconds * 1e9:.4g} "
            f"| {self.moved / self.seconds / 1e9:.4g} | {self.of_roofline:.3f} |"
        )


def copy_bandwidth(device: str) -> float:
    """Return the bytes that a large copy reads and writes a second."""
    source = torch.ones(COPIED[device] // BYTES, device=device)
    target = torch.empty_like(source)
    times = time_draws(lambda: target.copy_(source), 1, REPEATS, device)
    return 2 * COPIED[device] / min(spent for spent, _ in times.seconds)


def single(title: str) -> list[str]:
    """Return the estimators of one sample, one evaluation of J and any noise."""
    found = []
    for name in fitting(title):
        estimator = tuned(job(title), name)
        evaluations = estimator.evaluations_on(job(title).objective)
        if estimator.samples == 1 and evaluations == 1 and _numbers(job(title), estimator):
            found.append(name)
    return found


def share(title: str, name: str, device: str, bandwidth: float) -> Share:
    """Time one estimator's draws, without moments."""
    where = job(title)
    estimator = tuned(where, name)
    params, noise = where.params.to(device), Noise(91, device=device)
    chunk = _chunk(where, estimator, device)

    def work() -> None:
        with torch.no_grad():
            estimator.draw(where.objective, params, chunk, noise)

    times = time_draws(work, chunk, REPEATS, device)
    moved = BYTES * (_numbers(where, estimator) + where.params.numel())
    return Share(title, name, moved, min(spent for spent, _ in times.seconds), bandwidth)


def table(rows: Iterable[Share], device: str, bandwidth: float) -> str:
    """Write the shares as Markdown."""
    what = torch.cuda.get_device_name() if device == "cuda" else "one CPU thread"
    return "\n".join(
        (
            f"{what}: a copy moves {bandwidth / 1e9:.4g} GB/s",
            "",
            "| job | estimator | bytes | ns | GB/s | of the roofline |",
            "|---|---|---|---|---|---|",
            *map(str, rows),
        )
    )


def _chunk(where: Job, estimator: Estimator, device: str) -> int:
    if device == "cpu":
        return chunk_draws(where.objective, estimator)
    return 2 ** round(math.log2(VALUES / (where.params.numel() * estimator.samples)))


def _numbers(where: Job, estimator: Estimator) -> int:
    """Return the random numbers in one estimate."""
    count, counter = 64, Noise(91, "count")
    with torch.no_grad():
        estimator.draw(where.objective, where.params, count, counter)
    return counter.drawn // count


def test_the_share_on_this_cpu():
    bandwidth = copy_bandwidth("cpu")
    rows = [
        share(title, name, "cpu", bandwidth)
        for title in TITLES
        for name in ("score_function", "straight_through")
    ]
    print(table(rows, "cpu", bandwidth))
    assert [row.moved for row in rows] == [4 * (8 + 80)] * 2 + [4 * (20 + 20)] * 2
    assert all(0 < row.of_roofline < 2 for row in rows)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_the_shares_on_this_gpu():
    bandwidth = copy_bandwidth("cuda")
    rows = [share(title, name, "cuda", bandwidth) for title in TITLES for name in single(title)]
    print(table(rows, "cuda", bandwidth))
    assert all(0 < row.of_roofline < 1 for row in rows)


def test_the_shares_are_those_of_the_definition(monkeypatch):
    """A copy of 2^26 bytes in 10 ms, and estimates of 352 bytes in 52.45 ns, as an example."""
    asked: list[tuple[int, int, str]] = []

    def in_known_time(work, chunk, repeats, device):
        work()
        asked.append((chunk, repeats, device))
        seconds = 0.01 if chunk == 1 else 5.245e-8
        return type("Known", (), {"seconds": ((2 * seconds, 0.0), (seconds, 0.0))})

    monkeypatch.setattr("test_roofline.time_draws", in_known_time)
    bandwidth = copy_bandwidth("cpu")
    assert bandwidth == pytest.approx(2 * 2**26 / 0.01)
    found = share(TITLES[0], "score_function", "cpu", bandwidth)
    assert found.of_roofline == pytest.approx(352 / 5.245e-8 / (2 * 2**26 / 0.01))
    assert found.of_roofline == pytest.approx(0.5, rel=1e-3)
    assert asked[0] == (1, REPEATS, "cpu")
    assert asked[1][0] == chunk_draws(
        job(TITLES[0]).objective, tuned(job(TITLES[0]), "score_function")
    )
    assert "0.500" in table([found], "cpu", bandwidth)


def test_the_estimators_are_those_of_one_sample():
    for title in TITLES:
        names = single(title)
        print(title, len(names), names)
        assert {"score_function", "gumbel_softmax", "straight_through"} <= set(names)
        assert not {"leave_one_out", "rebar", "exact"} & set(names)
