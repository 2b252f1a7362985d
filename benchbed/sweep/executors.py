"""Where cells run: this process, or some others on this machine. One torch thread in each."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Threads that spin for one another on shared cores made a sweep 5 to 50 times slower.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}


class InProcess(Executor):
    """Run each call at once, where it was submitted."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call ``fn`` and return its future, done."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def executor(jobs: int) -> Executor:
    """Return an executor of ``jobs`` workers; 1 is this process itself."""
    if jobs == 1:
        return InProcess()
    os.environ.update(ONE_THREAD)  # the workers read it when they import torch
    return ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("forkserver"), initializer=_quiet
    )


def _quiet() -> None:
    """Leave Ctrl-C to the parent, which lets the cells in flight end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
