"""How z is drawn."""

from benchbed.families.bernoulli import BERNOULLI
from benchbed.families.categorical import CATEGORICAL
from benchbed.families.normal import NORMAL

__all__ = ["BERNOULLI", "CATEGORICAL", "NORMAL"]
