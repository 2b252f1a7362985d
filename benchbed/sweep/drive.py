"""Get every cell through an executor, whatever happens to its workers.

The store is the only memory: a cell counts as done when its record is on disk, so workers may be
killed at any moment and what they took along is simply measured again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from benchbed.store import Results
from benchbed.sweep.cells import Cell
from benchbed.sweep.executors import InProcess, processes, stop
from benchbed.sweep.task import Done, failed, measure_into

DIED = "the process that measured it died (killed, out of memory, or a crash in its code)"


@dataclass(frozen=True)
class Drive:
    """One run over some cells.

    Attributes:
        store: where records go.
        timing: alternations with the reference kernel.
        provenance: the hash that records carry.
        report: called once for every cell that ended.
    """

    store: Results
    timing: int
    provenance: str
    report: Callable[[Done], None]

    def run(self, cells: Iterable[Cell], jobs: int) -> None:
        """Measure ``cells`` on ``jobs`` processes; 1 is this process itself.

        A worker's death breaks its whole pool. The cells then in flight are run one at a time, so
        that the one that kills is known and marked; the others go on together.

        Raises:
            KeyboardInterrupt: Ctrl-C; workers are gone and every finished cell is stored.
            UnusableResults: the folder cannot be written.
        """
        queue = deque(cells)
        while queue:
            size = min(jobs, len(queue))
            pool = InProcess() if jobs == 1 else processes(size)
            for cell in self._together(queue, pool, 1 if jobs == 1 else 2 * size):
                if self._together(deque([cell]), processes(1), 1):
                    self.store.put(failed(cell, f"{cell.one_line()}: {DIED}"))
                    self.report(Done(cell.id, "failed", f"{cell.one_line()}: {DIED}"))

    def _together(self, queue: deque[Cell], pool: Executor, width: int) -> list[Cell]:
        """Take cells from ``queue`` until it is empty or a worker dies; then return the suspects.

        Args:
            queue: emptied from the left.
            pool: ended in any case.
            width: cells in flight: enough to keep the workers busy, few enough to suspect.
        """
        flying: dict[Future[Done], Cell] = {}
        try:
            while queue or flying:
                while queue and len(flying) < width:
                    future = pool.submit(
                        measure_into, self.store.path, queue[0], self.timing, self.provenance
                    )
                    flying[future] = queue.popleft()
                for future in wait(flying, return_when=FIRST_COMPLETED).done:
                    done = future.result()
                    del flying[future]
                    self.report(done)
        except BrokenProcessPool:
            return self._unstored(flying.values())
        except KeyboardInterrupt:
            stop(pool)
            self._unstored(flying.values())
            raise
        finally:
            stop(pool)
        return []

    def _unstored(self, cells: Iterable[Cell]) -> list[Cell]:
        """Report the cells that were stored before their pool broke; return the others."""
        lost = []
        for cell in cells:
            states, _ = self.store.states([cell.id])
            if states.get(cell.id, "failed") == "failed":  # maybe of an earlier run
                lost.append(cell)
            else:
                self.report(Done(cell.id, states[cell.id], cell.one_line()))
        return lost
