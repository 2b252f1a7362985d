"""Which corner a z is at: its zeros and ones are the digits of one whole number, its code.

Bits are read in base 2, one-hots along the last axis in base K, the first variable first, by one
small matrix product: exact in float32 up to 2^24. Whether all of z is at corners is found in one
pass over it that writes z (1 - z) and one that adds its squares up, and, for one-hots, in a second
row of that product. Booleans the size of z would take several times as long.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchbed.contracts import Family
from benchbed.layout import draws_last

MOST_CODES = 65_536
MOST_LISTED = 2**22  # entries of z at all its corners, held at once
EXACT = 2**24  # whole numbers that float32 holds


@dataclass(frozen=True, eq=False)
class CornerCodes:
    """How z of zeros and ones is read as a number.

    Attributes:
        weights: of the entries, [1, event]; [2, event] where z is one-hot. The second row counts
            the ones of every variable, each variable in a digit of its own.
        count: what that row gives when each variable has a single one; 0 for bits.
        codes: how many there are, from 0.
        valid: which of them are corners of the family, [codes]; None: all.
    """

    weights: Tensor
    count: float
    codes: int
    valid: Tensor | None

    def read(self, z: Tensor) -> Tensor | None:
        """Return the codes of z [..., event, draws], contiguous, as [..., draws] int64.

        None if any of it is not at a corner. An entry passes if the square of z (1 - z) is 0: in
        float32, if it is 1 or within 4e-23 of 0.
        """
        flat = z.view(-1)
        if not len(flat) or float(flat[0]) not in (0, 1) or float(flat[-1]) not in (0, 1):
            return None  # a relaxed z, seen without reading all of it
        away = torch.addcmul(flat, flat, flat, value=-1)
        if float(torch.dot(away, away)) != 0:  # NaN, too
            return None
        read = self.weights.to(z) @ z
        if self.count:
            low, high = torch.aminmax(read[..., 1, :])
            if float(low) != self.count or float(high) != self.count:
                return None
        codes = read[..., 0, :].long()
        return codes if self.valid is None or bool(self.valid[codes].all()) else None


def corner_codes(family: Family, params: Tensor, dtype: torch.dtype) -> CornerCodes | None:
    """Return how to tell the corners of one item's z apart.

    None if they are not bits or one-hots, have more than ``MOST_CODES`` codes, or are misread, as
    they may be where the user has asked torch for matrix products of a lower precision.

    Args:
        family: any.
        params: [*items, *parameter axes], float64.
        dtype: of the z that will be read.
    """
    if family.states is None or family.enumerate is None or family.states(params) > MOST_CODES:
        return None
    states = family.states(params)
    event = family.enumerate(params, torch.zeros(1, dtype=torch.int64, device=params.device))[0]
    if states * event.numel() > MOST_LISTED:
        return None
    listed = family.enumerate(params, torch.arange(states, device=params.device))
    if not bool((listed * listed == listed).all()):
        return None
    one_hot = event.ndim > 1 and bool((listed.sum(-1) == 1).all())
    categories = event.shape[-1] if one_hot else 2
    variables = event.numel() // categories if one_hot else event.numel()
    codes = categories**variables
    if codes > MOST_CODES:
        return None
    at = torch.arange(variables, dtype=torch.float64, device=params.device)[:, None]
    digits = torch.arange(categories, dtype=torch.float64, device=params.device)
    weights, count = (2.0**at).T, 0.0
    if one_hot:
        ones = (categories + 1) ** at  # up to K ones of a variable: base K + 1
        rows = digits * categories**at, ones.expand(-1, categories)
        weights, count = torch.stack([row.flatten() for row in rows]), float(ones.sum())
    if float(weights.sum(1).max()) >= EXACT:
        return None
    flat = listed.flatten(1)
    seen = (flat * weights[0]).sum(1).long()
    valid = torch.zeros(codes, dtype=torch.bool, device=params.device)
    valid[seen] = True
    if int(valid.sum()) != states:
        return None
    found = CornerCodes(weights, count, codes, None if codes == states else valid)
    read = found.read(draws_last(flat.to(dtype)).contiguous())
    return found if read is not None and torch.equal(read, seen) else None
