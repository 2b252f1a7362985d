"""Where cells run: this process, or some others on this machine. One torch thread in each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
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


def processes(jobs: int) -> ProcessPoolExecutor:
    """Return a pool of ``jobs`` workers, forked from a server that has imported torch once."""
    os.environ.update(ONE_THREAD)  # the server reads it when it imports torch
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchbed.sweep.task"])
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=_settle)


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
