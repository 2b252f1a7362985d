"""``benchbed cite``: BibTeX of the estimators and objectives that a results folder used."""

from __future__ import annotations

from pathlib import Path

import rich_click as click


@click.command()
@click.argument("results")
def cite(results: str) -> None:
    """Print BibTeX for the estimators and objectives measured in folder RESULTS."""
    from benchbed.citations import bibtex, key_of, parts_of, references
    from benchbed.store import Results

    store = Results(Path(results))
    records, _ = store.read(store.sweep()["cells"])
    used: dict[str, set[str]] = {}  # citation -> who cites it
    silent = set()
    for record in records.values():
        for name, citation in (
            (record.estimator["name"], str(record.facts.get("citation", ""))),
            (record.objective["name"], str(record.facts.get("objective_citation", ""))),
        ):
            for part in parts_of(citation):
                used.setdefault(part, set()).add(name)
            if not citation and ":" in name:
                silent.add(name)
    known = {part: names for part, names in used.items() if key_of(part) in references()}
    for part, names in sorted(known.items()):
        click.echo(f"% {part}: {', '.join(sorted(names))}")
    click.echo(bibtex(known))
    for part in sorted(used.keys() - known.keys()):
        click.echo(f"no entry for '{part}' ({', '.join(sorted(used[part]))})", err=True)
    if silent:
        click.echo(f"no citation given by {', '.join(sorted(silent))}", err=True)
