"""Keep trained models of the test run out of the user's cache, and torch to one thread."""

from __future__ import annotations

import os
import shutil
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Set at import: some tests build models while they are collected. Workers of one run share it.
if "BENCHBED_TEST_CACHE" not in os.environ:
    os.environ["BENCHBED_TEST_CACHE"] = tempfile.mkdtemp(prefix="benchbed-tests-")
    _MINE = os.environ["BENCHBED_TEST_CACHE"]
else:
    _MINE = ""
os.environ["XDG_CACHE_HOME"] = os.environ["BENCHBED_TEST_CACHE"]


def pytest_unconfigure() -> None:
    """Remove the cache, in the process that made it."""
    if _MINE:
        shutil.rmtree(_MINE, ignore_errors=True)
