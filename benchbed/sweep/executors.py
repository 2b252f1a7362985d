"""Where cells run: this process, or some others on this machine. One torch thread in each."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext
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


def processes(jobs: int) -> ProcessPoolExecutor:
    """Return a pool of ``jobs`` workers, forked from a server that has imported torch once."""
    os.environ.update(ONE_THREAD)  # the server reads it when it imports torch
    return ProcessPoolExecutor(jobs, mp_context=_served(), initializer=_settle)


@functools.cache
def _served() -> ForkServerContext:
    """Start the server, deaf to Ctrl-C as the parent alone answers it, and see it has got torch."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchbed.sweep.task"])
    resource_tracker.ensure_running()  # started later, it would let the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    first = context.Process(target=int)  # Ctrl-C while a pool waits for the server is not clean
    first.start()
    first.join()
    return context


def stop(pool: Executor) -> None:
    """End a pool at once; cells in flight are dropped, and a resume measures them again."""
    workers = getattr(pool, "_processes", None) or {}  # public from Python 3.14: kill_workers
    for worker in list(workers.values()):
        worker.kill()
    pool.shutdown(wait=True, cancel_futures=True)


def _settle() -> None:
    """Leave Ctrl-C to the parent, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
