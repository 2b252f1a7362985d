"""The Kantorovich potential between two laws on a finite metric space, and whether it is unique.

    W1(pop, p) = min over flows F >= 0 of sum_ij F_ij d_ij, with net outflow pop - p     (primal)
               = max over T with T_i - T_j <= d_ij of sum_i (pop_i - p_i) T_i            (dual)

Where the best T is unique up to a constant, W1 is differentiable and dW1/dp = -T up to that
constant; where it is not, W1 has a kink. Kantorovich and Rubinstein's duality, as used by Arjovsky,
Chintala and Bottou 2017, "Wasserstein GAN" (arXiv 1701.07875), equation 2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
STILL = 1e-14  # less mass than this to move is rounding of the two laws
USED = 1e-9  # a flow below this share of all that moves is rounding of the solver


class Transport(NamedTuple):
    """A solved transport problem."""

    distance: float  # W1, the primal's value
    potential: Array  # the best T, mean 0
    play: float  # the widest range of a difference T_i - T_j among all best T; 0: one is best


def transport(pop: Array, p: Array, metric: Array) -> Transport:
    """Solve the primal by linear programming and read T off its multipliers.

    Args:
        pop: probabilities, [n].
        p: probabilities, [n].
        metric: distances, [n, n].
    """
    from scipy import sparse  # here: scipy's optimizers take longer to load than all benchbed
    from scipy.optimize import linprog

    count = len(pop)
    excess = pop - p
    moved = float(np.abs(excess).sum()) / 2
    if moved <= STILL:  # any 1-Lipschitz T is best
        return Transport(0.0, np.zeros(count), 2 * float(metric.max()))
    origin, goal = np.nonzero(~np.eye(count, dtype=bool))
    arcs = np.arange(len(origin))
    outflow = sparse.csr_array((np.ones(len(arcs)), (origin, arcs)), (count, len(arcs)))
    inflow = sparse.csr_array((np.ones(len(arcs)), (goal, arcs)), (count, len(arcs)))
    # The last balance follows from the others; with it the multipliers would float.
    balance = (outflow - inflow)[:-1]
    share = excess[:-1] / moved  # the solver's tolerances are absolute
    solved = linprog(metric[origin, goal], A_eq=balance, b_eq=share, method="highs")
    potential = np.append(solved.eqlin.marginals, 0.0)
    flow = np.zeros((count, count))
    flow[origin, goal] = solved.x
    play = _play(metric, potential, flow > USED)
    return Transport(moved * float(solved.fun), potential - potential.mean(), play)


def _play(metric: Array, potential: Array, used: NDArray[np.bool_]) -> float:
    """Return by how much T_i - T_j differs, at most, between two best T.

    The best T are those with T_i - T_j <= d_ij, and = d_ij where anything flows (complementary
    slackness): bounds on differences, which the shortest paths of what they leave make sharp.
    """
    room = metric - (potential[:, None] - potential)  # how far T_i - T_j may rise
    room = np.where(used | used.T, 0.0, room.clip(0))
    for middle in range(len(room)):
        room = np.minimum(room, room[:, middle, None] + room[middle])
    return float((room + room.T).max())  # down and up
