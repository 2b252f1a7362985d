"""One figure as it leaves the house: PNG, SVG and the numbers drawn, byte for byte repeatable."""

from __future__ import annotations

import html
import io
import re
from dataclasses import dataclass

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 150


@dataclass(frozen=True)
class Sheet:
    """A figure that fits on a screen or a printed page.

    Attributes:
        name: of its files, such as ``tradeoff`` or ``tradeoff-2``.
        title: in a few words.
        caption: what is shown, in which units, and what an error bar is.
        figure: drawn.
        data: exactly what is drawn, a row a dot.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    data: pd.DataFrame

    def files(self) -> dict[str, bytes]:
        """Return the contents of its PNG, SVG and CSV files by file name."""
        FigureCanvasAgg(self.figure)
        return {
            f"{self.name}.png": self._saved("png"),
            f"{self.name}.svg": self._saved("svg"),
            f"{self.name}.csv": self.data.to_csv(index=False, lineterminator="\n").encode(),
        }

    def _saved(self, kind: str) -> bytes:
        buffer = io.BytesIO()
        nothing = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
        self.figure.savefig(buffer, format=kind, dpi=DPI, metadata=nothing, facecolor="white")
        return buffer.getvalue()


def inline(svg: bytes, name: str, title: str) -> str:
    """Return an SVG file as an element of a page.

    The prologue and the metadata go, and every id gets the figure's name in front: a page has one
    space of ids, and matplotlib calls the axes of every figure ``axes_1``.
    """
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(title)}" ', 1)
