"""The three things benchbed is made of: a family, an objective, an estimator.

Each is a frozen record of functions. None of them remembers anything between calls, and every
random number comes from the ``Noise`` passed in.

Words used everywhere: ``draws`` are independent gradient estimates; ``samples`` are the z-samples
inside one estimate; ``dimensions`` is the number of latent variables; ``categories`` the number of
values of each; ``items`` are the images (or other data) of an amortized model, each with its own
latent variables and its own expectation.
"""

from benchbed.contracts.estimator import Draw, Estimator, Finite, add_direct, check_pair, obstacle
from benchbed.contracts.family import Family, Path
from benchbed.contracts.objective import Evaluation, Objective

__all__ = [
    "Draw",
    "Estimator",
    "Evaluation",
    "Family",
    "Finite",
    "Objective",
    "Path",
    "add_direct",
    "check_pair",
    "obstacle",
]
