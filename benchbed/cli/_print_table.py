"""A table on the terminal as wide as that is, and through a pipe without ends of blanks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDTH = 160  # where the output is no terminal


def plain_console() -> Console:
    """Return a console that prints text as it is: nothing in it is markup."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = WIDTH
    return console


def print_table(table: Table) -> None:
    """Print ``table`` as it is."""
    console = plain_console()
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())
