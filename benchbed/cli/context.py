"""Help pages without the spaces that pad each line to the terminal's width."""

from __future__ import annotations

import rich_click as click


class Formatter(click.RichHelpFormatter):
    """Writes what rich-click writes, trimmed on the right."""

    def getvalue(self) -> str:
        """Return the page."""
        return "\n".join(line.rstrip() for line in super().getvalue().split("\n"))


class Context(click.RichContext):
    """The context of every verb."""

    formatter_class = Formatter
