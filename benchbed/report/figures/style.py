"""How every figure looks: colours, markers, fonts, and the same bytes each time."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import matplotlib.style
import seaborn as sns
from matplotlib.typing import ColorType, LineStyleType

INK, MUTED, FAINT, WARNING = "#222222", "#5f5f5f", "#cccccc", "#a33b00"
SMALL = 7.5

# Seaborn's colour-blind safe palette; its pink and yellow are too pale for a dot on white.
_SAFE = sns.color_palette("colorblind")
_COLOURS = [*_SAFE[:5], INK, _SAFE[9], _SAFE[5], _SAFE[7]]
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h")  # 11: coprime with 9 colours
LINES: tuple[LineStyleType, ...] = ("-", "--", ":", "-.", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)))

_SCALE = {"*": 1.6, "P": 1.2, "X": 1.15, "D": 0.92, "h": 1.1}  # to look equally large

_RC = {
    "svg.hashsalt": "benchbed",
    "svg.fonttype": "path",  # the same shapes on a computer without the font
    "text.parse_math": False,  # names come from specs: a dollar sign is a dollar sign
    "text.usetex": False,
    "axes.unicode_minus": False,
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titley": 1.0,  # where it is without a search for what is in the way
    "axes.labelsize": 8.5,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": 8.5,
    "axes.edgecolor": "#9a9a9a",
    "axes.labelcolor": INK,
    "text.color": INK,
    "grid.color": "#ececec",
    "grid.linewidth": 0.7,
    "xtick.bottom": True,
    "ytick.left": True,
    "xtick.color": INK,
    "ytick.color": INK,
}


# Their order decides their looks, so that two pages can be compared; new ones go to the end.
KNOWN = (
    *("exact", "score_function", "constant_baseline", "leave_one_out", "arm", "disarm", "rebar"),
    *("straight_through", "gumbel_softmax", "straight_through_gumbel_softmax", "reinmax"),
    *("reparameterization", "local_expectation", "unordered_set", "rodeo", "arms", "relax"),
    *("gumbel_rao", "muprop", "double_control_variates", "carms", "arsm", "darn", "vimco"),
    *("moving_average_baseline", "self_critical", "nvil", "optimal_baseline_regression", "lax"),
    *("antithetic_score_function", "bitflip", "ugc", "ars", "disarm_stick_breaking"),
    *("disarm_importance_weighted", "sum_and_sample", "rao_blackwell_score_function"),
    *("gapped_straight_through", "reinmax_rao", "decoupled_straight_through"),
    *("invertible_gaussian", "step_straight_through", "snap_straight_through"),
    *("vq_straight_through", "rotation_trick", "gumbel_vq", "implicit_reparameterization"),
    *("measure_valued", "delta_control_variate", "finite_difference", "spsa"),
    *("evolution_strategies", "quasi_monte_carlo_score_function"),
    *("quasi_monte_carlo_reparameterization", "iwae_reparameterization"),
    *("sticking_the_landing", "doubly_reparameterized", "reweighted_wake_sleep", "ovis"),
    "thermodynamic",
)


class Look(NamedTuple):
    """The colour and marker that stand for one estimator in every figure."""

    colour: ColorType
    marker: str

    def size(self, points: float) -> float:
        """Return the marker size that looks as large as a square of ``points``."""
        return points * _SCALE.get(self.marker, 1.0)


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Give each estimator's name a look: the same on every page for those of the catalogue.

    99 pairs of colour and marker before one repeats.
    """
    return {
        name: Look(_COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)])
        for i, name in enumerate(dict.fromkeys((*KNOWN, *names)))
    }


def sizes(samples: Iterable[int]) -> dict[int, float]:
    """Give each number of samples a marker size in points: the more, the larger."""
    ordered = sorted({int(value) for value in samples})
    step = 4.0 / max(len(ordered) - 1, 1)
    if len(ordered) == 1:
        return {ordered[0]: 6.0}
    return {value: 4.8 + step * i for i, value in enumerate(ordered)}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw as the report does, whatever the reader's own matplotlib settings; then undo it."""
    with (
        warnings.catch_warnings(),
        matplotlib.style.context(["default", {**sns.axes_style("whitegrid"), **_RC}]),
    ):
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # drawn as a box
        yield


def wrapped(text: str, width: int, lines: int = 3) -> str:
    """Break a label into at most ``lines`` lines, first before its settings.

    What is too long is cut, the name before the settings: they tell the rows of a figure apart.
    """
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    name, bracket, settings = clean.partition("(")
    if len(clean) <= width:
        return clean
    below = _cut(_fill(bracket + settings, width), max(1, lines - 1), width) if bracket else []
    return "\n".join(_cut(_fill(name, width), lines - len(below), width) + below)


def _cut(broken: list[str], lines: int, width: int) -> list[str]:
    if len(broken) <= lines:
        return broken
    return [*broken[: lines - 1], broken[lines - 1][: width - 1] + "…"]


def _fill(text: str, width: int) -> list[str]:
    """Break where names and settings have joints, and anywhere in a joint that is too long."""
    joints = re.findall(r"[^/_:,=( ]*[/_:,=( ]|[^/_:,=( ]+", text)
    lines = [""]
    for part in (joint[i : i + width] for joint in joints for i in range(0, len(joint), width)):
        if len((lines[-1] + part).rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return [line.strip() for line in lines if line.strip()]
