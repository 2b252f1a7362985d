"""Peak memory grows neither with the number of draws nor with the number of values of z."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from pathlib import Path
from benchbed.catalogue import build_estimator, build_objective
from benchbed.measurement.cell import measure_cell
found = measure_cell(
    build_objective("polynomial", dimensions=2, categories=3),
    build_estimator("straight_through_gumbel_softmax"),
    draws=int(sys.argv[1]), timing=0,
)
assert found.blocks.count.sum() == int(sys.argv[1])
# Not ru_maxrss: it starts at the size of the process that launched this one.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(status["VmHWM"].split()[0])
"""

ENUMERATION = """
import sys
from pathlib import Path
from benchbed.catalogue import build_objective
from benchbed.enumeration import marginalize
problem = build_objective("coupled", dimensions=int(sys.argv[1]))
value, gradient = marginalize(problem, problem.params)
assert abs(float(value - problem.exact_value())) < 1e-9 * abs(float(value))
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(status["VmHWM"].split()[0])
"""


def peak(size: int, program: str = PROGRAM) -> int:
    """Return the peak resident memory, in kB, of a fresh process that runs ``program``."""
    done = subprocess.run(
        [sys.executable, "-c", program, str(size)],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_is_the_same_at_ten_million_draws():
    few, many = peak(100_000), peak(10_000_000)
    print(f"peak {few} at 1e5 draws, {many} at 1e7: ratio {many / few:.3f}")
    assert many <= 1.1 * few


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_million_values_of_z_are_summed_in_the_memory_of_a_thousand():
    few, many = peak(10, ENUMERATION), peak(20, ENUMERATION)
    print(f"peak {few / 2**10:.0f} MiB at 10 bits, {many / 2**10:.0f} MiB at 20 bits")
    assert many < 2**20  # kB: 1 GiB, with torch itself
    assert many <= 1.2 * few
