"""The settings at which the exact gradients of the catalogue are held: every road through them.

Each objective at its defaults and, where a setting leads to another formula or the defaults are too
large to be summed over, at others as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchbed.catalogue import OBJECTIVES

Settings = dict[str, Any]

BESIDE_THE_DEFAULTS: Mapping[str, tuple[Settings, ...]] = {
    "adversarial": (
        *(
            {"divergence": name}
            for name in ("kl", "reverse_kl", "pearson", "squared_hellinger", "wasserstein")
        ),
        {"critic": "network"},
    ),
    "binary_tree": ({"leaves": 5}, {"leaves": 20}),
    "compartmentalized": ({"data": "digits", "images": 2},),
    "conditional_prior": ({"latents": "chain"},),
    "digits_vae": ({"latents": "categorical"},),
    "elbo": (
        *({"form": form, "terms": "exact"} for form in ("em", "entropy", "vae", "dvae", "maxent")),
        {"form": "dvae", "total_correlation": 4.0},
    ),
    "hidden_markov": ({"steps": 5}, {"steps": 100, "categories": 10}),
    "hierarchical_prior": ({"latents": "normal"},),
    "iwae": (
        {"dimensions": 2, "particles": 16},
        {"latents": "categorical"},
        {"latents": "normal"},
        {"latents": "normal", "particles": 64},
    ),
    "logistic_regression": ({"terms": "exact"},),
    "markov_chain": (
        {"steps": 5},
        {"steps": 5, "shared": False},
        {"steps": 100, "categories": 10},
    ),
    "mixture_prior": ({"terms": "exact"}, {"data": "digits"}),
    "mohamed_toy": ({"cost": "exponential"}, {"cost": "cosine"}),
    "nested": ({"dimensions": 1}, {"dimensions": 2}),
    "polynomial": ({"dimensions": 3, "categories": 4, "exponent": 1.5},),
    "rainforth": (
        {"dimensions": 1, "particles": 2},
        {"dimensions": 1, "particles": 2, "gradient": "generative"},
        {"particles": 256, "items": 1},
    ),
    "vamp_prior": ({"components": "pseudo"}, {"data": "digits"}),
    "vector_quantized": ({"task_codes": "frozen"},),
}


def every_setting() -> list[tuple[str, Settings]]:
    """Return (name, settings) of all objectives of the catalogue, in its order."""
    return [
        (name, settings)
        for name in OBJECTIVES
        for settings in ({}, *BESIDE_THE_DEFAULTS.get(name, ()))
    ]
