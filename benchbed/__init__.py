"""How noisy, how wrong and how dear is a gradient estimator, and how sure are we?"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchbed.adapters import from_sampler, from_surrogate
    from benchbed.api import compare, measure
    from benchbed.catalogue import build_estimator, build_objective
    from benchbed.contracts import Estimator, Family, Objective
    from benchbed.rng import Noise

__version__ = "0.1.0"

# Found when first asked for, so that the command line starts without torch.
_HOMES = {
    "Estimator": "benchbed.contracts",
    "Family": "benchbed.contracts",
    "Noise": "benchbed.rng",
    "Objective": "benchbed.contracts",
    "build_estimator": "benchbed.catalogue",
    "build_objective": "benchbed.catalogue",
    "compare": "benchbed.api",
    "from_sampler": "benchbed.adapters",
    "from_surrogate": "benchbed.adapters",
    "measure": "benchbed.api",
}

__all__ = [
    "Estimator",
    "Family",
    "Noise",
    "Objective",
    "build_estimator",
    "build_objective",
    "compare",
    "from_sampler",
    "from_surrogate",
    "measure",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'benchbed' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
