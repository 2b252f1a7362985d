"""Short citations, such as "Kool et al. 2019", to the BibTeX of references.bib. Knows no torch."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path

from benchbed.errors import BadArgument

FILE = Path(__file__).with_name("references.bib")


def key_of(citation: str) -> str:
    """Return the BibTeX key of a short citation: "Yin and Zhou 2019" is yin-and-zhou-2019."""
    return re.sub(r"[^a-z0-9]+", "-", citation.lower().replace("'", "")).strip("-")


def parts_of(citation: str) -> list[str]:
    """Return the single citations in a text that joins several by semicolons."""
    return [part.strip() for part in citation.split(";") if part.strip()]


@functools.cache
def references() -> dict[str, str]:
    """Return every entry of references.bib by its key, as it stands there."""
    entries = re.split(r"(?m)^(?=@)", FILE.read_text(encoding="utf-8"))
    found = {}
    for entry in entries:
        match = re.match(r"@\w+\{([^,\s]+),", entry)
        if match:
            found[match.group(1)] = entry.strip()
    return found


def bibtex(citations: Iterable[str]) -> str:
    """Return the entries of the citations, each once, in the order of their keys.

    Raises:
        BadArgument: references.bib has no entry for one of them.
    """
    keys = {key_of(part): part for citation in citations for part in parts_of(citation)}
    known = references()
    for key, part in keys.items():
        if key not in known:
            raise BadArgument(
                f"'{part}' has no entry in references.bib; add one with the key {key}"
            )
    return "\n\n".join(known[key] for key in sorted(keys))
