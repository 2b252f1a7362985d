"""``benchbed env``: what a bug report or a table's footnote should say."""

from __future__ import annotations

import json

import rich_click as click


@click.command()
def env() -> None:
    """Print versions, commit, processor and threads as JSON."""
    from benchbed.store.provenance import provenance

    click.echo(json.dumps(provenance(), indent=1))
