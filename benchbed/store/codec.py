"""A record as one JSON text and one npz, and back. No pickle."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from dataclasses import fields, replace
from typing import Any

import numpy as np

from benchbed.errors import UnusableResults
from benchbed.records import Blocks, Exact, Record

FORMAT = 1


def encode(record: Record) -> tuple[str, bytes | None]:
    """Return the JSON text, which holds the arrays' checksum, and the npz (None without blocks)."""
    arrays: dict[str, Any] = {}
    if record.blocks is not None:
        arrays |= record.blocks.arrays()
        if record.blocks.powers.shape[1] == 1:  # thousands of coordinates: means, in float32
            arrays["first"] = record.blocks.first.astype(np.float32)
    if record.exact is not None:
        arrays |= {"exact_mean": record.exact.mean, "exact_variance": record.exact.variance}
    blob = _pack(arrays) if arrays else None
    text: dict[str, Any] = {
        field.name: getattr(record, field.name)
        for field in fields(Record)
        if field.name not in ("blocks", "exact")
    }
    text |= {"format": FORMAT, "arrays": hashlib.sha256(blob).hexdigest() if blob else None}
    # a setting of your own estimator may be anything: what JSON has not is kept as its text
    return json.dumps(_without_nan(text), indent=1, sort_keys=True, default=str) + "\n", blob


def decode(text: str, blob: bytes | None, name: str) -> Record:
    """Return the record, or raise UnusableResults saying which file is damaged."""
    try:
        raw = json.loads(text)
        if raw.pop("format") != FORMAT:
            raise UnusableResults(f"{name} was written by another version of benchbed; re-run it")
        checksum = raw.pop("arrays")
        raw["cpu_ratios"] = tuple(raw["cpu_ratios"])
        raw["seconds"] = tuple((cpu, wall) for cpu, wall in raw["seconds"])
        record = Record(**raw)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnusableResults(
            f"{name} is damaged ({error}); run the sweep again to mend it"
        ) from None
    if checksum is None:
        return record
    if blob is None or hashlib.sha256(blob).hexdigest() != checksum:
        raise UnusableResults(
            f"the arrays of {name} are missing or damaged; run the sweep again to mend them"
        )
    try:
        return _with_arrays(record, blob)
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UnusableResults(
            f"the arrays of {name} cannot be used ({error}); run the sweep again to mend them"
        ) from None


def _with_arrays(record: Record, blob: bytes) -> Record:
    with np.load(io.BytesIO(blob), allow_pickle=False) as saved:
        arrays = {key: saved[key].astype(np.float64) for key in saved.files}
    exact = None
    if "exact_mean" in arrays:
        exact = Exact(arrays.pop("exact_mean"), arrays.pop("exact_variance"))
    return replace(record, blocks=Blocks(**arrays), exact=exact)


def _pack(arrays: dict[str, Any]) -> bytes:
    """Write an npz whose bytes depend on the arrays alone (no time stamps)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            part = io.BytesIO()
            np.lib.format.write_array(part, np.ascontiguousarray(arrays[name]), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), part.getvalue())
    return buffer.getvalue()


def _without_nan(value: Any) -> Any:
    """Replace NaN and infinities, which JSON has not, by null."""
    if isinstance(value, dict):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
