"""What exact gradients cost as a problem grows, next to what sampling costs."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from benchbed.report.figures.sheet import Sheet
from benchbed.report.figures.style import INK, MUTED, house_style

NAME = "scaling"
MARKERS, LINES = ("o", "s", "^", "D", "v"), ("-", ":", "--", "-.", (0, (5, 1)))
CAPTION = (
    "CPU seconds of one gradient, one thread, against the size of the problem: the median of "
    "several timings, bars from the least to the most. Sampled: leave-one-out with 2 samples, one "
    "estimate, and as many as make the mean right to 1 % of the gradient's length (root mean "
    "square)."
)


def sheet(frame: pd.DataFrame) -> Sheet:
    """Draw the timings.

    Args:
        frame: columns problem, size, way, seconds, low, high.
    """
    ways = list(dict.fromkeys(frame["way"]))
    palette = sns.color_palette("colorblind")
    problems = list(dict.fromkeys(frame["problem"]))
    with house_style():
        figure = Figure(figsize=(9.2, 6.6), layout="constrained")
        panels = figure.subplots(2, -(-len(problems) // 2), squeeze=False).ravel()
        handles = {}
        for axes, problem in zip(panels, problems, strict=False):
            here = frame[frame["problem"] == problem]
            axes.set_title(problem, color=INK)
            axes.set_yscale("log")
            axes.set_xscale("log")
            axes.set_ylabel("CPU seconds of one gradient")
            axes.set_xlabel(problem.split()[0] if problem.startswith("d ") else _axis(problem))
            for number, way in enumerate(ways):
                rows = here[here["way"] == way].sort_values("size")
                if rows.empty:
                    continue
                spread = [rows["seconds"] - rows["low"], rows["high"] - rows["seconds"]]
                handles[way] = axes.errorbar(
                    rows["size"], rows["seconds"], yerr=spread, label=way, lw=1.2, elinewidth=1,
                    color=palette[number], marker=MARKERS[number % 5], ms=4.5,
                    ls=LINES[number % 5],
                )  # fmt: skip
            ticks = [n for n in (1, 2, 3, 5, 10, 20, 50, 100, 200) if n <= here["size"].max()]
            axes.set_xticks([n for n in ticks if n >= here["size"].min()])
            axes.set_xticklabels([str(n) for n in ticks if n >= here["size"].min()])
            axes.minorticks_off()
        for axes in panels[len(problems) :]:
            axes.set_axis_off()
        figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=2, frameon=False,
            labelcolor=MUTED,
        )  # fmt: skip
    return Sheet(NAME, "The cost of an exact gradient", CAPTION, figure, frame)


def _axis(problem: str) -> str:
    return "T, steps" if problem.startswith("chain") else "K, values"
