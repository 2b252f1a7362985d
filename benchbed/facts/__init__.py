"""Facts: equations of two notes, each side computed on its own, and what carries each row."""

from __future__ import annotations

from benchbed.facts import (
    adversarial,
    bounds,
    gradients,
    gumbel,
    hybrid,
    likelihoods,
    maxima,
    multi_sample,
    priors,
    quantized,
    relaxations,
    reparameterization,
    structures,
)
from benchbed.facts.fact import Fact, Limit, Outcome, evaluate

FACTS: tuple[Fact | Limit, ...] = (
    *likelihoods.FACTS,
    *bounds.FACTS,
    *structures.FACTS,
    *adversarial.FACTS,
    *multi_sample.FACTS,
    *priors.FACTS,
    *hybrid.FACTS,
    *gradients.FACTS,
    *reparameterization.FACTS,
    *relaxations.FACTS,
    *quantized.FACTS,
    *gumbel.FACTS,
    *maxima.FACTS,
)

__all__ = ["FACTS", "Fact", "Limit", "Outcome", "evaluate"]
