"""The objectives that an estimator is held against: small, exact, and showing a shrink of 5 %.

Costs are not linear, so that a wrong slope or baseline shows; bits and categories come with several
continuations between the corners, which decide the bias of straight-through kinds, with two items
whose costs must not mix, and with a J that depends on the parameters themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchbed.catalogue import build_objective
from benchbed.contracts import Estimator, Family, Objective, check_pair, obstacle
from benchbed.errors import BadArgument, nearest
from benchbed.families import BERNOULLI, CATEGORICAL
from benchbed.rng import Noise

# The first of each kind of latents stands for it where one is enough.
PANEL: tuple[Mapping[str, Any], ...] = (
    {"name": "golden_bits"},
    {"name": "golden_bits", "extension": "cubic"},
    {"name": "coupled", "dimensions": 4, "extension": "multilinear"},
    {"name": "smooth", "dimensions": 2, "categories": 3},
    {"name": "smooth", "dimensions": 2, "categories": 3, "extension": "cubic"},
    {"name": "table", "dimensions": 2, "categories": 4},
    {"name": "normal_exponential", "scale": 0.7},
    {"name": "normal_cosine", "k": 2.0, "scale": 0.7},
    {"name": "gamma_quadratic", "k": 1.0, "dimensions": 2},
    {"name": "beta_quadratic", "dimensions": 2},
    {"name": "dirichlet_quadratic", "dimensions": 2, "categories": 3},
    {"name": "poisson_quadratic", "dimensions": 2},
    {"name": "quantized"},
    {"name": "vector_quantized"},
    {"name": "step"},
    {"name": "snap", "dimensions": 2, "categories": 3},
    {"name": "nested", "categories": 3, "dimensions": 1},
    {"name": "markov_chain", "steps": 3, "categories": 3},
    {"name": "binary_tree", "leaves": 3},
    {"name": "iwae", "distance": 2.0},
    {"name": "iwae", "latents": "normal", "particles": 3, "seed": 4},
)


@dataclass(frozen=True)
class Place:
    """An objective and what it is called in a verdict."""

    label: str
    objective: Objective

    @property
    def latents(self) -> str:
        """The kind of latents."""
        return self.objective.family.name


def two_items(family: Family) -> Objective:
    """Return two items of two bits or two categorical variables, with a direct term.

    J of item n is a_n z + exp(b_n z) + 0.3 <params_n, z> + 0.1 |params_n|^2, a and b normal.
    """
    noise = Noise(3, "two items", family.name, dtype=torch.float64)
    shape = (2, 2) if family is BERNOULLI else (2, 2, 3)
    slopes, exponent, params = (noise.normal(*shape).contiguous() for _ in range(3))
    axes = tuple(range(-family.event_axes, 0))

    def cost(z: Tensor, params: Tensor) -> Tensor:
        bent = (z * (0.5 * exponent).to(z)).sum(axes).exp()
        direct = 0.3 * (z * params).sum(axes) + 0.1 * params.square().sum(axes)
        return (z * slopes.to(z)).sum(axes) + bent + direct

    name = f"two_items {family.name}"
    return Objective(name, family, 0.7 * params, cost, direct=True)


def standard_panel(latents: Collection[str] = ()) -> list[Place]:
    """Return the panel, or its part on these kinds of latents."""
    places = []
    for entry in PANEL:
        label = " ".join([entry["name"], *(entry[key] for key in SAID if key in entry)])
        places.append(Place(label, build_objective(**entry)))
    places += [Place(f"two_items {law.name}", two_items(law)) for law in (BERNOULLI, CATEGORICAL)]
    known = sorted({place.latents for place in places})
    for kind in latents:
        if kind not in known:
            raise BadArgument(
                f"unknown kind of latents '{kind}'{nearest(kind, known)}; "
                f"the panel has {', '.join(known)}"
            )
    return [place for place in places if not latents or place.latents in latents]


SAID = ("extension", "latents")  # settings that tell places of one name apart


def places_for(
    method: Estimator, objectives: Sequence[str], latents: Collection[str]
) -> list[Place]:
    """Return where ``method`` is looked at: ``objectives``, or what it fits of the panel.

    Raises:
        IncompatiblePair: an objective that was asked for does not fit.
        BadArgument: nothing of the panel fits.
    """
    if objectives:
        asked = [Place(name, build_objective(name)) for name in objectives]
        for place in asked:
            check_pair(place.objective, method)
        return asked
    panel = standard_panel(latents)
    fitting = [place for place in panel if not obstacle(place.objective, method)]
    if not fitting:
        raise BadArgument(
            f"{method.name} fits nothing of the panel: {obstacle(panel[0].objective, method)}; "
            "give an objective it fits with --objective"
        )
    return fitting


def one_of_each(places: Sequence[Place]) -> list[Place]:
    """Return the first place of each kind of latents."""
    first: dict[str, Place] = {}
    for place in places:
        first.setdefault(place.latents, place)
    return list(first.values())
