"""How z is drawn: the families of latents, with the layout of their params and of z.

params are ONE tensor; in front of the axes below it may have item axes (images, say). z has the
axes of draws and samples in front of those.

    BERNOULLI   params logits [d]                              z [d] of 0 and 1
    CATEGORICAL params logits [d, K]                           z one-hot [d, K]
    NORMAL      params [2, d]: means, LOG-scales               z [d]
    GAMMA       params [2, d]: LOG concentrations, LOG rates   z [d]
    BETA        params [2, d]: LOG of both concentrations      z [d]
    DIRICHLET   params [d, K]: LOG concentrations              z [d, K] on the simplex
    POISSON     params [d]: LOG rates                          z [d]

Those with sizes of their own are made by a function, each in its module of the same name
(``from benchbed.families.markov_chain import markov_chain``), whose head says the rest:

    markov_chain(states, shared)        flat logits of the start and of the moves; z one-hot [T, K]
    binary_tree(leaves, labels)         flat scores of labelled spans and rules
    nested(categories, dimensions)      [K, 1 + 2 d]: a category, and normals below it
    quantized(codebook, scale)          [d, D]: the code nearest to a noisy encoding
    learned_codebook(vectors, ...)      encodings, then codes, flat; z one-hot
    step(scale), snap(scale)            noisy inputs through a threshold, through an arg-max
    particles(base, count)              params of ``base``; z has K of them
    extended(base, shape, more), fixed(base, at)   parameters beside those of a law (extended.py)

and gaussian_chain.GAUSSIAN_CHAIN is two normals, one given the other.
"""

from benchbed.families.bernoulli import BERNOULLI
from benchbed.families.beta import BETA
from benchbed.families.categorical import CATEGORICAL
from benchbed.families.dirichlet import DIRICHLET
from benchbed.families.gamma import GAMMA
from benchbed.families.normal import NORMAL
from benchbed.families.poisson import POISSON

__all__ = ["BERNOULLI", "BETA", "CATEGORICAL", "DIRICHLET", "GAMMA", "NORMAL", "POISSON"]
