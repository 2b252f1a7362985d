"""Trained weights, kept on disk under a hash of everything they depend on."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

Weights = dict[str, Tensor]


def trained(name: str, recipe: str, start: Weights, train: Callable[[Weights], Weights]) -> Weights:
    """Return ``train(start)``, from the cache folder where it was once made.

    Args:
        name: of the file, before its hash.
        recipe: what the weights depend on beside ``start``: settings, and the source of the code
            that trains. torch's version and the start itself are added.
        start: named tensors, float64; what is found on disk must have their names and shapes.
        train: from the start to the weights to keep; ``_descent.descend`` comes out the same in
            every process.
    """
    digest = hashlib.sha256(f"{recipe} torch {torch.__version__}".encode())
    for key, tensor in sorted(start.items()):
        digest.update(f"{key} {list(tensor.shape)}".encode() + tensor.numpy().tobytes())
    path = cache_folder() / f"{name}-{digest.hexdigest()[:16]}.npz"
    found = _read(path)
    if {key: x.shape for key, x in found.items()} == {key: x.shape for key, x in start.items()}:
        return found
    weights = {key: tensor.detach() for key, tensor in train(start).items()}
    _write(path, weights)
    return weights


def cache_folder() -> Path:
    """Return where trained models are kept (``$XDG_CACHE_HOME/benchbed`` or ``~/.cache``)."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "benchbed"


def _read(path: Path) -> Weights:
    """Return what the file holds; nothing where it is missing or damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as saved:
            return {key: torch.from_numpy(saved[key]) for key in saved.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}


def _write(path: Path, weights: Weights) -> None:
    """Write under a temporary name and rename; a read-only cache is no error."""
    arrays = {key: tensor.numpy() for key, tensor in weights.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            try:
                np.savez(file, allow_pickle=False, **arrays)
                os.replace(file.name, path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError:
        return
