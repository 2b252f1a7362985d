"""From a results folder to a report folder."""

from __future__ import annotations

import re
from pathlib import Path

from benchbed.errors import UnusableResults
from benchbed.report.figures import NAMES, draw_all
from benchbed.report.load import load
from benchbed.report.page import pictures, render
from benchbed.report.tables import tables
from benchbed.store.folder import write

_OURS = re.compile(rf"({'|'.join(NAMES)})(-\d+)?\.(png|svg|csv)")


def write_report(results: Path, reports: Path) -> Path:
    """Write ``reports/<name>/``: index.html, table.csv and figures/.

    The same results give the same bytes. A sweep that is not finished, failed in places or is
    damaged gets a report, too, which says so.

    Args:
        results: the folder of one sweep.
        reports: the folder that holds reports; made where it is missing.

    Returns:
        The path of index.html.

    Raises:
        UnusableResults: the results are missing, foreign or empty, or the report cannot be written.
    """
    loaded = load(results)
    drawn = draw_all(loaded.frame)
    files = {f"figures/{name}": blob for _, made in drawn for name, blob in made.items()}
    files["table.csv"] = loaded.frame.to_csv(index=False, lineterminator="\n").encode()
    # The page comes last: where it is, all that it links to is.
    files["index.html"] = render(loaded, pictures(drawn), tables(loaded.frame)).encode()
    folder = reports / loaded.name
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write(folder / name, content)
        for path in (folder / "figures").iterdir():  # of an earlier report that had more figures
            if _OURS.fullmatch(path.name) and f"figures/{path.name}" not in files:
                path.unlink()
    except OSError as error:
        raise UnusableResults(
            f"{folder} cannot be written ({error.strerror}); name another folder with --reports"
        ) from None
    return folder / "index.html"
