"""Data sets that ship inside scikit-learn, read without loading scikit-learn.

Importing it takes longer than loading torch's tensors and fifty times as long as reading a file.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Labelled(NamedTuple):
    """A data set."""

    data: Array  # [rows, features]
    target: Array  # [rows], whole numbers


@functools.cache
def digits() -> Labelled:
    """Return 1,797 images, [1797, 64] pixels from 0 to 16, and their digits.

    Alpaydin and Kaynak 1998, "Optical recognition of handwritten digits" (UCI repository).
    """
    return _shipped("digits", "digits.csv.gz", header=0)


@functools.cache
def breast_cancer() -> Labelled:
    """Return 569 biopsies, [569, 30], and whether each is benign (1) or malignant (0).

    Street, Wolberg and Mangasarian 1993 (UCI repository).
    """
    return _shipped("breast_cancer", "breast_cancer.csv", header=1)


def _shipped(name: str, file: str, header: int) -> Labelled:
    package = find_spec("sklearn")
    if package is not None and package.origin is not None:
        path = Path(package.origin).parent / "datasets" / "data" / file
        if path.exists():
            table = np.loadtxt(path, delimiter=",", skiprows=header)
            return Labelled(table[:, :-1].copy(), table[:, -1].copy())
    from sklearn import datasets  # a version that keeps its files elsewhere

    found = getattr(datasets, f"load_{name}")()
    return Labelled(found.data.astype(np.float64), found.target.astype(np.float64))
