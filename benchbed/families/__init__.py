"""How z is drawn."""

from benchbed.families.bernoulli import BERNOULLI
from benchbed.families.beta import BETA
from benchbed.families.categorical import CATEGORICAL
from benchbed.families.dirichlet import DIRICHLET
from benchbed.families.gamma import GAMMA
from benchbed.families.normal import NORMAL
from benchbed.families.poisson import POISSON

__all__ = ["BERNOULLI", "BETA", "CATEGORICAL", "DIRICHLET", "GAMMA", "NORMAL", "POISSON"]
