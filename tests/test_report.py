"""The report: nothing lost, nothing loaded from elsewhere, the same bytes each time."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchbed.analysis.table import label, table
from benchbed.errors import UnusableResults
from benchbed.records import Blocks, Exact, Record
from benchbed.report import write_report
from benchbed.report.figures import NAMES, draw_all
from benchbed.report.figures.cost import front
from benchbed.report.figures.style import wrapped
from benchbed.report.numbers import number, p_value, share, with_interval
from benchbed.report.readings import LIMIT, NOTHING, VALUE, ZERO, readings
from benchbed.store import Results

EVIL = "<script>alert('x')</script>"
BLOCKS, DRAWS = 8, 400


def record(
    objective: dict[str, Any],
    estimator: dict[str, Any],
    *,
    samples: int = 2,
    seed: int = 0,
    bias: float = 0.0,
    deviation: float = 1.0,
    exact: tuple[float, ...] = (3.0, 4.0),
    unbiased: object = True,
    ratios: tuple[float, ...] = (2.0, 2.2, 1.9),
) -> Record:
    """Return a sound record of normal draws around ``(1 + bias) exact``."""
    truth = np.array(exact)
    words = [seed, samples, *f"{label(objective)} {label(estimator)}".encode()]
    rng = np.random.default_rng(words)
    error = bias * truth + deviation / np.sqrt(samples) * rng.standard_normal(
        (BLOCKS, DRAWS // BLOCKS, len(truth))
    )
    square = np.square(error).sum(2)  # [blocks, draws]
    blocks = Blocks(
        count=np.full(BLOCKS, DRAWS / BLOCKS),
        exact=truth,
        first=error.sum(1),
        powers=np.stack([(error**k).sum(1) for k in (2, 3, 4)]),
        largest=np.abs(error).max(1),
        distance=np.stack([square.sum(1), np.square(square).sum(1), square.max(1)]),
        seconds=1e-4 * samples * (1 + 0.01 * rng.standard_normal((2, BLOCKS))),
        nonfinite=np.zeros(BLOCKS),
    )
    name = "-".join(re.sub(r"\W+", "_", label(x)) for x in (objective, estimator))
    return Record(
        cell=f"{name}-{samples}-{seed}",
        objective=objective,
        estimator=estimator,
        samples=samples,
        seed=seed,
        address={"draws": DRAWS, "blocks": BLOCKS},
        status="ok",
        facts={
            "evaluations": samples, "slopes": 0, "random_numbers": 2.0, "unbiased": unbiased,
            "parameters": len(truth), "tuning_evaluations": 0, "tuned": False,
        },
        cpu_ratios=ratios,
        blocks=blocks,
        exact=Exact(truth * (1 + bias), np.full(len(truth), deviation**2 / samples)),
        provenance="here",
    )  # fmt: skip


def sweep_records() -> list[Record]:
    """Return every kind of cell: sound, biased, exact, failed, not finite, with hostile names."""
    plain = [
        {"name": "quadratic", "dimensions": 2},
        {"name": "quadratic", "dimensions": 4},
        {"name": f"mine.py:{EVIL}", "note": "$\\frac{1}$ & <b>"},
    ]
    records = [record(plain[2], {"name": "leave_one_out"})]
    for objective in plain[:2]:
        for samples in (2, 4):
            for seed in (0, 1):
                at: dict[str, Any] = {"samples": samples, "seed": seed}
                records.append(record(objective, {"name": "score_function"}, deviation=9, **at))
                records.append(record(objective, {"name": "leave_one_out"}, **at))
                for temperature in (0.1, 1.0):
                    entry = {"name": "gumbel_softmax", "temperature": temperature}
                    biased = {"bias": 0.3 * temperature, "unbiased": "limit"}
                    records.append(record(objective, entry, deviation=0.5, **biased, **at))
        records.append(record(objective, {"name": "exact"}, samples=1, deviation=0.0))
    lost = record(plain[0], {"name": "rebar"}, deviation=2.0)
    records.append(replace(lost, status="nonfinite", message=f"3 of 400 draws were NaN {EVIL}"))
    wild = record(plain[0], {"name": "wild"})
    assert wild.blocks is not None
    distance = wild.blocks.distance.copy()
    distance[2, 0] = distance[0].sum() / 2  # half the sum of squares is in one draw
    records.append(replace(wild, blocks=replace(wild.blocks, distance=distance)))
    failed = record(plain[1], {"name": "rebar"})
    records.append(
        replace(failed, status="failed", message="out of memory", facts={}, blocks=None, exact=None)
    )
    return records


def store(folder: Path, records: list[Record], **sweep: Any) -> Path:
    """Write a results folder as a sweep does."""
    results = Results(folder / "results")
    told = {
        "name": "trial",
        "question": f"Is it {EVIL} safe?",
        "spec": {"name": "trial", "objectives": [{"name": EVIL}], "draws": DRAWS},
        "cells": [one.cell for one in records],
        "skipped": [f"{EVIL} cannot work on quadratic"],
    }
    results.create(told | sweep)
    results.put_provenance("here", {"commit": "abc123", "dirty": True, "packages": {"numpy": "9"}})
    for one in records:
        results.put(one)
    return results.path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Record], Path, Path]:
    """Return the records, the results and the page of one report."""
    folder = tmp_path_factory.mktemp("report")
    records = sweep_records()
    results = store(folder, records)
    return records, results, write_report(results, folder / "reports")


def text_of(page: str) -> str:
    """Return what a reader sees of a page."""
    return html.unescape(re.sub(r"<[^>]*>", "", page))


def test_the_page_holds_every_cell(written: tuple[list[Record], Path, Path]) -> None:
    records, _, path = written
    page = path.read_text()
    tables = page[page.index("<h2>Tables") : page.index('id="provenance"')]
    rows = {" ".join(text_of(row).split()) for row in re.findall(r"<tr.*?</tr>", tables, re.DOTALL)}
    for one in records:
        start = label(one.estimator)
        assert any(row.startswith(start) for row in rows), start
    combinations = {(label(r.objective), label(r.estimator), r.samples) for r in records}
    assert tables.count("<tr") - tables.count("<thead><tr") == len(combinations)
    assert len(pd.read_csv(path.parent / "table.csv")) == len(combinations)


def test_the_page_says_what_went_wrong(written: tuple[list[Record], Path, Path]) -> None:
    records, _, path = written
    page = text_of(path.read_text())
    sound = sum(record.status == "ok" for record in records)
    assert f"{sound} of {len(records)} cells" in page
    assert "1 failed" in page
    assert "1 with draws that are not finite" in page
    assert page.count("out of memory") == 2  # in its table and in the list of what went wrong
    assert page.count("3 of 400 draws were NaN") == 2
    assert "cannot work on quadratic" in page
    assert "abc123" in page
    assert "zero" in page
    assert page.count("variance may not exist") == 1


def test_untrusted_text_stays_text(written: tuple[list[Record], Path, Path]) -> None:
    page = written[2].read_text()
    assert "<script" not in page.lower()
    assert page.count(html.escape(EVIL, quote=False).replace("'", "&#39;")) >= 4
    for svg in (written[2].parent / "figures").glob("*.svg"):
        assert "<script" not in svg.read_text().lower()


def test_the_page_loads_nothing(written: tuple[list[Record], Path, Path]) -> None:
    page = written[2].read_text()
    loads = re.findall(r"""(?:src|href|action|data|xlink:href)\s*=\s*["']([^"']*)""", page)
    assert loads
    for target in loads:
        assert target.startswith("#") or (written[2].parent / target).is_file(), target
    assert not re.search(r"@import|url\((?!#)|<link|<iframe|<img", page)
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert {target[1:] for target in loads if target.startswith("#")} <= set(ids)
    assert len(ids) == len(set(ids))


def test_the_same_results_give_the_same_bytes(
    written: tuple[list[Record], Path, Path], tmp_path: Path
) -> None:
    first = written[2].parent
    second = write_report(written[1], tmp_path / "again").parent
    names = sorted(path.relative_to(first) for path in first.rglob("*.*"))
    assert names == sorted(path.relative_to(second) for path in second.rglob("*.*"))
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_every_figure_comes_in_three_files(written: tuple[list[Record], Path, Path]) -> None:
    figures = {path.name for path in (written[2].parent / "figures").iterdir()}
    idle = {"categories", "k", "scale", "multiplier", "distance", "signal_to_noise"}
    for name in set(NAMES) - idle:  # nothing here varies in those
        assert {f"{name}.png", f"{name}.svg", f"{name}.csv"} <= figures
    assert not any(name.rpartition(".")[0] in idle for name in figures)


def test_the_figures_numbers_are_the_tables(written: tuple[list[Record], Path, Path]) -> None:
    full = readings(table(written[0])).set_index(["objective", "estimator", "samples"])
    folder = written[2].parent / "figures"
    first = pd.read_csv(folder / "bias_variance.csv")
    second = pd.read_csv(folder / "tradeoff.csv")
    assert len(first) == len(full)
    assert set(first["bias_drawn"]) == {VALUE, LIMIT, ZERO, NOTHING}
    for _, row in first.iterrows():
        truth = full.loc[(row["objective"], row["estimator"], row["samples"])]
        for column in ("bias", "bias_low", "variance", "variance_high", "exact_variance"):
            assert row[column] == pytest.approx(truth[column], nan_ok=True)
    sound = second[second["estimator"] == "gumbel_softmax(temperature=1.0)"]
    assert sound["bias_squared"].to_numpy() == pytest.approx(0.09, abs=0.02)
    assert sound["variance_relative"].to_numpy() == pytest.approx(
        2 * 0.25 / sound["samples"].to_numpy() / 25, rel=0.3
    )


def test_a_temperature_line_has_all_its_dots_and_references(
    written: tuple[list[Record], Path, Path],
) -> None:
    drawn = pd.read_csv(written[2].parent / "figures" / "temperature.csv")
    lines = drawn[drawn["drawn_as"] == "line"]
    assert set(lines["estimator.temperature"]) == {0.1, 1.0}
    assert set(lines["samples"]) == {2}
    others = drawn[drawn["drawn_as"] == "reference"]
    assert {"leave_one_out", "score_function"} <= set(others["estimator"])
    assert "exact" not in set(others["estimator"])


def test_signal_to_noise_is_drawn_along_particles_with_its_slopes(tmp_path: Path) -> None:
    bound, records = {"name": "bound", "items": 2}, []
    for count in (8, 32, 128, 512, 2048):
        entry, deviation = bound | {"particles": count}, 10 * count**0.5
        records.append(record(entry, {"name": "mine"}, samples=1, deviation=deviation))
        records.append(
            record(entry, {"name": "loud"}, samples=1, deviation=50 / count**0.5, unbiased=False)
        )
        weak = {"deviation": 1e4, "bias": -1.0}
        records.append(record(entry, {"name": "weak"}, samples=1, unbiased="limit", **weak))
    records += [record({"name": "pair", "particles": count}, {"name": "mine"}) for count in (2, 4)]
    figures = write_report(store(tmp_path, records), tmp_path / "reports").parent / "figures"
    drawn = pd.read_csv(figures / "signal_to_noise.csv")
    assert set(drawn["objective"].str.partition("(")[0]) == {"bound"}  # two values are no line
    assert len(drawn) == 15
    mine, loud, weak_rows = (drawn[drawn["estimator"] == x] for x in ("mine", "loud", "weak"))
    # |(3, 4)| over a deviation of 10 sqrt(2 particles), below the floor from 64 particles on
    exact = 5 / 10 / np.sqrt(2 * mine["objective.particles"])
    np.testing.assert_allclose(mine["signal"], exact, rtol=0.1)
    assert (mine["signal"].iloc[-2:] < 0.5 * mine["snr_floor"].iloc[-2:]).all()
    assert set(mine["signal_from"]) == {"exact gradient"}
    for rows, slope in ((mine, -0.5), (loud, 0.5)):
        low, high = rows["signal_slope_low"].iloc[0], rows["signal_slope_high"].iloc[0]
        assert abs(rows["signal_slope"].iloc[0] - slope) < 2 * (high - low) < 0.4
    assert set(loud["signal_from"]) == {"mean of the draws"}
    # A 95 % interval of a true 0 leaves it out one time in 20.
    assert (weak_rows["signal_drawn"] == LIMIT).sum() >= 4
    assert weak_rows["signal_slope"].isna().all()
    text = (figures / "signal_to_noise.svg").read_text()
    assert text.count('<g id="axes_') == 1


def test_the_front_is_what_nothing_beats() -> None:
    part = pd.DataFrame(
        {
            "promise": ["unbiased"] * 4 + ["biased", "unbiased"],
            "variance_drawn": [VALUE] * 5 + [ZERO],
            "cpu_us": [1.0, 2.0, 3.0, 2.5, 0.5, 0.1],
            "variance": [9.0, 4.0, 1.0, 5.0, 0.1, 0.0],
        }
    )
    assert front(part) == [0, 1, 2]  # 3 is beaten by 1; 4 and 5 do not play


def test_an_unfinished_sweep_says_how_much_is_there(tmp_path: Path) -> None:
    records = sweep_records()[:3]
    results = store(tmp_path, records, cells=[one.cell for one in records] + ["a", "b"])
    (results / "cells" / f"{records[0].cell}.json").write_text("{")
    page = text_of(write_report(results, tmp_path / "reports").read_text())
    assert "Unfinished: 2 of 5 cells" in page
    assert "1 damaged" in page
    assert "is damaged" in page


def test_only_failed_cells_still_give_a_page(tmp_path: Path) -> None:
    one = replace(
        record({"name": "quadratic"}, {"name": "rebar"}),
        status="failed", message="no memory", facts={}, blocks=None, exact=None,
    )  # fmt: skip
    path = write_report(store(tmp_path, [one]), tmp_path / "reports")
    assert "no memory" in text_of(path.read_text())


def test_no_gradient_no_timing_and_one_seed_are_drawn_without_a_warning(tmp_path: Path) -> None:
    flat = {"name": "flat"}
    records = [
        record(flat, {"name": name}, exact=(0.0, 0.0), ratios=(), deviation=deviation)
        for name, deviation in (("exact", 0.0), ("score_function", 1.0), ("an " * 60, 1.0))
    ]
    page = text_of(write_report(store(tmp_path, records), tmp_path / "reports").read_text())
    assert "Variance × CPU ratio" not in page.partition("Tables\n")[2]
    assert not (tmp_path / "reports" / "trial" / "figures" / "tradeoff.svg").exists()


def test_figures_of_an_earlier_report_go(tmp_path: Path) -> None:
    results = store(tmp_path, sweep_records()[:1])
    figures = tmp_path / "reports" / "trial" / "figures"
    figures.mkdir(parents=True)
    (figures / "tradeoff-7.svg").touch()
    (figures / "mine.svg").touch()
    write_report(results, tmp_path / "reports")
    assert not (figures / "tradeoff-7.svg").exists()
    assert (figures / "mine.svg").exists()


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ({}, "holds none of its 2 cells"),
        ({"name": "../outside"}, "is damaged"),
        ({"cells": None}, "is damaged"),
    ],
)
def test_unusable_results_are_refused_in_a_line(
    tmp_path: Path, sweep: dict[str, Any], said: str
) -> None:
    results = store(tmp_path, [], **({"cells": ["a", "b"]} | sweep))
    with pytest.raises(UnusableResults, match=said) as caught:
        write_report(results, tmp_path / "reports")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "reports").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file in the way")
    with pytest.raises(UnusableResults, match="cannot be written") as caught:
        write_report(store(tmp_path, sweep_records()[:1]), tmp_path / "reports")
    assert "\n" not in str(caught.value)


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    draw_all(table(sweep_records()[:2]))
    assert dict(mpl.rcParams) == before


def test_the_report_needs_no_torch() -> None:
    code = "import sys, benchbed.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ((1.372845, 1.327781, 1.419438), ("1.373", "[1.328, 1.419]")),
        ((0.0, 0.0, 0.0744), ("0", "[0, 0.074]")),
        ((5.89e-4, 5.76e-4, 6.02e-4), ("5.89×10⁻⁴", "[5.76, 6.02]×10⁻⁴")),
        ((4083.84, 3981.2, 4190.1), ("4,080", "[3,980, 4,190]")),
        ((2e-5, 1e-6, 3e-4), ("2.0×10⁻⁵", "[1.0×10⁻⁶, 3.0×10⁻⁴]")),
        ((0.5, float("nan"), float("nan")), ("0.500", "")),
        ((float("nan"),) * 3, ("–", "")),
        ((-0.001, -0.4, 0.4), ("0.00", "[-0.40, 0.40]")),
    ],
)
def test_an_interval_decides_the_digits(
    interval: tuple[float, float, float], text: tuple[str, str]
) -> None:
    assert with_interval(*interval) == text


def test_numbers_are_written_for_people() -> None:
    assert number(9.9996) == "10.0"
    assert number(123456789.0) == "1.23×10⁸"
    assert number(float("inf")) == "∞"
    assert share(0.256) == "26 %"
    assert share(float("inf")) == "> 1000 %"
    assert p_value(3.21e-7) == "p = 3.2×10⁻⁷"
    assert p_value(0.0) == "p < 10⁻¹⁵"


def test_a_label_is_cut_in_its_name_and_keeps_its_settings() -> None:
    assert wrapped("short(a=1)", 20) == "short(a=1)"
    assert wrapped("gumbel_softmax(temperature=0.5)", 20) == "gumbel_softmax\n(temperature=0.5)"
    long = wrapped("path/to/somewhere/far/away/file.py:function(a=1)", 20)
    assert long.endswith("…\n(a=1)")
    assert all(len(line) <= 20 for line in long.split("\n"))
    assert wrapped("tab\there\x00", 20) == "tab here"
