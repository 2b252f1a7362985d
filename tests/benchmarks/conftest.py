"""Timings: one thread, memory that stays in the process, and benchmarks only when asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

# glibc hands blocks above its threshold back to the kernel, and every page of the next one costs a
# fault; freeing ONE block of nearly 32 MiB raises the threshold to that. Both sides gain by it.
_block = torch.empty(2**23 - 2**12)
del _block


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Give every side one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave benchmarks out unless --benchmark-only asks for them: hundreds of them take minutes."""
    if config.getoption("benchmark_only", default=False):
        return
    left_out = [item for item in items if "benchmark" in getattr(item, "fixturenames", ())]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Give gradients in a CPU second, which pytest-benchmark's times of a call do not show."""
    session = getattr(config, "_benchmarksession", None)
    found = [bench for bench in getattr(session, "benchmarks", ()) if bench.extra_info]
    if not found:
        return
    terminalreporter.section("gradients in a CPU second")
    for bench in found:
        rate = bench.extra_info["gradients"] / bench.stats.min
        side = bench.params["side"] if bench.params else bench.name
        terminalreporter.write_line(f"{rate:>14,.0f}  {side:<16} {bench.group}")
