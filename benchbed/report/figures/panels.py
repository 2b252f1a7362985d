"""Small multiples laid out in inches: titles, labels and legend each have room of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchbed.report.figures.style import INK, MUTED, Look, wrapped

TALLEST = 11.0  # inches of a sheet; what is left goes on the next one
LINE = 0.155  # of a title
LEFT, RIGHT, BOTTOM, GAP = 0.78, 0.12, 0.55, 0.14
_WIDTHS = {1: 8.4, 2: 4.6, 3: 3.3}  # of a panel, by panels a row


def columns(count: int) -> int:
    """Return how many panels a row has."""
    return max(1, min(3, count))


def per_sheet(count: int, height: float, stacked: int) -> int:
    """Return how many panels (or stacks of them) fit on one sheet."""
    row = stacked * height + (stacked - 1) * GAP + BOTTOM + 2 * LINE + 0.1
    return max(1, int((TALLEST - 1.5) / row)) * columns(count)


def panels(
    titles: Sequence[str], handles: Sequence[Artist], height: float, stacked: int = 1
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure with, for each title, ``stacked`` panels one above the other.

    Args:
        titles: of the stacks, wrapped to the panels' width.
        handles: of the legend, which goes on top, clear of every panel.
        height: of one panel, inches.
        stacked: panels in a stack; they share their x axis.
    """
    across = columns(len(titles))
    rows = math.ceil(len(titles) / across)
    width = _WIDTHS[across]
    texts = [wrapped(title, int(width * 13), 3) for title in titles]
    head = 0.1 + LINE * max(text.count("\n") + 1 for text in texts)
    row_height = head + stacked * height + (stacked - 1) * GAP + BOTTOM
    total_width = across * (LEFT + width + RIGHT)
    entries, top = _legend_room(handles, total_width)
    total_height = top + rows * row_height
    figure = Figure(figsize=(total_width, total_height))
    figure.legend(
        handles=list(handles), loc="upper left", bbox_to_anchor=(0.1 / total_width, 1.0),
        ncols=entries, frameon=False, handlelength=2.2, columnspacing=1.6, borderaxespad=0.3,
    )  # fmt: skip
    stacks = []
    for place, text in enumerate(texts):
        down, right = divmod(place, across)
        x = right * (LEFT + width + RIGHT) + LEFT
        y = top + down * row_height + head
        stack = []
        for level in range(stacked):
            bottom = total_height - y - level * (height + GAP) - height
            corner = (x / total_width, bottom / total_height)
            size = (width / total_width, height / total_height)
            stack.append(figure.add_axes((*corner, *size)))
        stack[0].set_title(text, loc="left", pad=4, color=INK, fontweight="bold", linespacing=1.1)
        for axes in stack[:-1]:
            axes.tick_params(labelbottom=False)
        stacks.append(stack)
    return figure, stacks


def _legend_room(handles: Sequence[Artist], width: float) -> tuple[int, float]:
    """Return the legend's columns and its height in inches."""
    lines = [str(handle.get_label()).split("\n") for handle in handles]
    longest = max((len(line) for label in lines for line in label), default=1)
    entries = max(1, min(len(lines), int((width - 0.2) / (0.069 * longest + 0.62))))
    rows = math.ceil(len(lines) / entries)
    tallest = max((len(label) for label in lines), default=1)
    return entries, 0.14 + rows * (0.13 * tallest + 0.06)


def estimator_handles(looks: dict[str, Look]) -> list[Artist]:
    """Return a legend entry for each estimator's colour and marker."""
    return [
        Line2D(
            [],
            [],
            color=look.colour,
            marker=look.marker,
            ls="none",
            ms=look.size(6.5),
            label=wrapped(name, 44),
        )
        for name, look in looks.items()
    ]


def size_handles(sizes: dict[int, float]) -> list[Artist]:
    """Return a legend entry for each marker size, where there are several."""
    if len(sizes) < 2:
        return []
    return [
        Line2D([], [], color=MUTED, marker="o", ls="none", ms=size, label=f"samples = {samples}")
        for samples, size in sizes.items()
    ]
