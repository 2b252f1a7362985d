"""Where and with what a cell was measured."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

PACKAGES = ("torch", "numpy", "scipy", "pandas", "scikit-learn")


@functools.cache
def provenance() -> dict[str, object]:
    """Return commit, versions, processor and threads; never the names of people or hosts."""
    root = Path(__file__).resolve().parents[2]
    commit = _git(root, "rev-parse", "HEAD")
    return {
        "benchbed": _version("benchbed"),
        "commit": commit or "unknown",
        "dirty": bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
        if commit
        else None,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": 1,  # of torch, while measuring: see measurement/cell.py
    }


def key(surroundings: dict[str, object]) -> str:
    """Return the hash that records refer to."""
    text = json.dumps(surroundings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _git(root: Path, *words: str) -> str:
    """Ask git about the checkout benchbed runs from; empty where there is none."""
    if not (root / ".git").exists():
        return ""
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


def _processor() -> str:
    if sys.platform == "linux":
        try:
            for line in Path("/proc/cpuinfo").read_text().splitlines():
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
        except OSError:
            return "unknown"
    return platform.processor() or "unknown"
