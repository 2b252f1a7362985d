"""What is put in the store comes back bit for bit, and damage is never mistaken for a result."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchbed.errors import UnusableResults
from benchbed.records import MOST_DETAILED, Blocks, Exact, Record
from benchbed.store import Results
from benchbed.store.folder import MARK, write
from benchbed.store.inventory import inventory
from benchbed.store.provenance import key, provenance

NUMBERS = np.random.Generator(np.random.SFC64(7))


def record(cell: str = "c0", size: int = 3, **changes: object) -> Record:
    """Return a record of 4 blocks and ``size`` coordinates."""
    rows = 4 if size <= MOST_DETAILED else 1
    blocks = Blocks(
        count=np.full(4, 64.0),
        exact=NUMBERS.normal(size=size),
        first=NUMBERS.normal(size=(4, size)),
        powers=NUMBERS.normal(size=(3, rows, size)),
        largest=NUMBERS.normal(size=(rows, size)),
        distance=NUMBERS.normal(size=(3, 4)),
        seconds=NUMBERS.random((2, 4)),
        nonfinite=np.zeros(4),
    )
    made = Record(
        cell=cell,
        objective={"name": "quadratic", "dimensions": size},
        estimator={"name": "score_function"},
        samples=2,
        seed=5,
        address={"draws": 256, "versions": {"rng": 1}},
        status="ok",
        facts={"evaluations": 2, "unbiased": True, "settings": {"temperature": 0.1}},
        cpu_ratios=(1.1, 0.1 + 0.2),
        blocks=blocks,
        exact=Exact(NUMBERS.normal(size=size), NUMBERS.random(size)),
        provenance="abc",
    )
    return replace(made, **changes)


@pytest.fixture
def store(tmp_path: Path) -> Results:
    made = Results(tmp_path / "sweep")
    made.create({"name": "sweep", "cells": ["c0", "c1"]})
    return made


def same_bits(a: object, b: object) -> bool:
    return all(
        getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in a.__dataclass_fields__
    )


class TestRoundTrip:
    def test_bit_for_bit(self, store):
        wanted = record()
        store.put(wanted)
        found = store.get("c0")
        assert same_bits(found.blocks, wanted.blocks)
        assert same_bits(found.exact, wanted.exact)
        assert replace(found, blocks=None, exact=None) == replace(wanted, blocks=None, exact=None)

    def test_a_failed_cell_has_no_arrays(self, store):
        wanted = record(status="failed", message="no | numbers", blocks=None, exact=None)
        store.put(wanted)
        assert store.get("c0") == wanted
        assert not (store.cells / "c0.npz").exists()

    @pytest.mark.parametrize(("size", "kind"), [(MOST_DETAILED, "f8"), (MOST_DETAILED + 1, "f4")])
    def test_thousands_of_block_means_are_float32(self, store, size, kind):
        wanted = record(size=size)
        store.put(wanted)
        with np.load(store.cells / "c0.npz", allow_pickle=False) as saved:
            assert saved["first"].dtype == np.dtype(kind)
            assert saved["powers"].dtype == saved["exact"].dtype == np.float64
        assert wanted.blocks is not None
        expected = wanted.blocks.first.astype(kind).astype(np.float64)
        assert np.array_equal(store.get("c0").blocks.first, expected)

    def test_the_same_record_is_the_same_file(self, store, tmp_path):
        wanted = record()
        other = Results(tmp_path / "other")
        other.create({})
        for place in (store, other):
            place.put(wanted)
        for name in ("c0.npz", "c0.json"):
            assert (store.cells / name).read_bytes() == (other.cells / name).read_bytes()

    def test_what_json_has_not_does_not_stop_a_put(self, store):
        store.put(record(facts={"far": float("inf"), "grid": np.arange(2), 3: "three"}))
        assert store.get("c0").facts == {"far": None, "grid": "[0 1]", "3": "three"}
        assert "Infinity" not in (store.cells / "c0.json").read_text()


class TestOrder:
    def test_the_json_is_written_last(self, store, monkeypatch):
        names: list[str] = []
        monkeypatch.setattr("benchbed.store.folder.write", lambda path, _: names.append(path.name))
        store.put(record())
        assert names == ["c0.npz", "c0.json"]

    def test_arrays_without_their_json_are_no_cell(self, store):
        store.put(record())
        (store.cells / "c0.json").unlink()
        assert store.ids() == set()

    def test_unfinished_files_are_passed_over(self, store):
        store.put(record())
        (store.cells / ".new-k2x9").write_bytes(b"{")
        assert store.ids() == {"c0"}
        assert store.read(["c0"])[1] == []

    def test_a_write_that_fails_leaves_the_old_file_and_no_other(self, tmp_path, monkeypatch):
        path = tmp_path / "file"
        write(path, b"old")

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("benchbed.store.folder.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            write(path, b"new")
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]


class TestDamage:
    @pytest.mark.parametrize("suffix", ["json", "npz"])
    @pytest.mark.parametrize(
        "harm",
        [
            lambda b: b[:-30],
            lambda b: b[: len(b) // 2],
            lambda _: b"",
            lambda _: b"\xff\xfe\x00garbage",
            lambda b: b.replace(b"a", b"b", 1),
        ],
        ids=["end", "half", "empty", "garbage", "one byte"],
    )
    def test_it_is_reported_and_the_others_are_read(self, store, suffix, harm):
        store.put(record("c0"))
        store.put(record("c1"))
        victim = store.cells / f"c0.{suffix}"
        victim.write_bytes(harm(victim.read_bytes()))
        records, damaged = store.read(["c0", "c1", "c2"])
        assert list(records) == ["c1"]
        assert len(damaged) == 1
        assert str(store.cells / "c0") in damaged[0]
        assert "run the sweep again" in damaged[0]
        assert "\n" not in damaged[0]
        assert store.states(["c0", "c1"]) == ({"c1": "ok"}, damaged)

    @pytest.mark.parametrize("text", ["[]", '"x"', "3", "null", '{"format": 1}', '{"format": 0}'])
    def test_json_of_another_kind(self, store, text):
        (store.cells / "c0.json").write_text(text)
        with pytest.raises(UnusableResults, match=r"c0\.json"):
            store.get("c0")

    def test_a_record_under_another_cells_name(self, store):
        store.put(record("c1"))
        for suffix in ("json", "npz"):
            (store.cells / f"c1.{suffix}").rename(store.cells / f"c0.{suffix}")
        with pytest.raises(UnusableResults, match="it holds cell c1"):
            store.get("c0")

    def test_missing_arrays(self, store):
        store.put(record())
        (store.cells / "c0.npz").unlink()
        with pytest.raises(UnusableResults, match="missing or damaged"):
            store.get("c0")

    @pytest.mark.parametrize("kind", ["objects", "other names", "no zip"])
    def test_arrays_of_another_kind_are_refused_and_never_unpickled(self, store, kind):
        class Trap:
            def __reduce__(self):
                return (pytest.fail, ("a pickle was loaded",))

        store.put(record())
        buffer = io.BytesIO(b"no zip")
        if kind == "objects":
            np.savez(buffer, first=np.array([Trap()], dtype=object))
        elif kind == "other names":
            np.savez(buffer, first=np.zeros(3))
        blob = buffer.getvalue()
        (store.cells / "c0.npz").write_bytes(blob)
        path = store.cells / "c0.json"
        text = json.loads(path.read_text()) | {"arrays": hashlib.sha256(blob).hexdigest()}
        path.write_text(json.dumps(text))
        with pytest.raises(UnusableResults, match="cannot be used"):
            store.get("c0")


class TestFolder:
    def test_a_foreign_folder_is_refused_and_left_alone(self, tmp_path):
        (tmp_path / "thesis.txt").write_text("mine")
        with pytest.raises(UnusableResults, match=r"not made by benchbed; name another.*--results"):
            Results(tmp_path).create({})
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_somebody_elses_mark_is_foreign_too(self, tmp_path):
        (tmp_path / MARK).write_text('{"made by": "another tool"}')
        with pytest.raises(UnusableResults, match="not made by benchbed"):
            Results(tmp_path).create({})

    def test_a_file_in_its_place(self, tmp_path):
        (tmp_path / "sweep").write_text("")
        with pytest.raises(UnusableResults, match="is a file; name another folder"):
            Results(tmp_path / "sweep").create({})

    @pytest.mark.parametrize("path", ["/proc/benchbed-results", "/dev/null/results"])
    def test_a_place_that_cannot_be_written(self, path):
        with pytest.raises(UnusableResults, match=r"cannot be written .*--results"):
            Results(path).create({})

    def test_killed_while_it_was_made_it_is_still_ours(self, tmp_path):
        (tmp_path / ".new-abc").write_bytes(b'{"benchbed"')
        Results(tmp_path).create({"name": "sweep"})
        assert Results(tmp_path).sweep() == {"name": "sweep"}

    @pytest.mark.parametrize("text", ["", '{"benchbed": 1, "na', "[]", '"x"', "\x00"])
    def test_a_damaged_mark_is_said_and_mended(self, store, text):
        store.put(record())
        (store.path / MARK).write_text(text)
        with pytest.raises(UnusableResults, match=r"is damaged .*run the sweep again"):
            store.sweep()
        assert not inventory(store.path.parent)[0].complete
        if text not in ("[]", '"x"'):
            store.create({"name": "sweep"})
            assert store.sweep() == {"name": "sweep"}
        assert store.ids() == {"c0"}

    @pytest.mark.parametrize("there", [False, True])
    def test_no_results_folder(self, tmp_path, there):
        path = tmp_path if there else tmp_path / "nowhere"
        with pytest.raises(UnusableResults, match=str(path)):
            Results(path).sweep()

    def test_inventory_counts_every_state(self, store):
        cells = ["c0", "c1", "c2", "c3", "c4"]
        store.create({"cells": cells})
        store.put(record("c0"))
        store.put(record("c1", status="failed", blocks=None, exact=None))
        store.put(record("c2", status="nonfinite"))
        store.put(record("c3"))
        store.put(record("old"))
        (store.cells / "c3.npz").unlink()
        (line,) = inventory(store.path.parent)
        assert line.one_line() == (
            f"{store.path}: 1 of 5 cells, 1 failed, 1 not finite, 1 damaged, 1 to do, "
            "1 of an earlier spec or source"
        )

    def test_a_mark_without_cells(self, store):
        for mark, says in (({}, "lists no cells"), ({"cells": 3}, "is damaged")):
            store.create(mark)
            assert says in inventory(store.path.parent)[0].one_line()

    @pytest.mark.parametrize("cells", [3, "c0", [1], {"c0": 1}])
    def test_a_mark_whose_cells_are_no_names(self, store, cells):
        store.create({"cells": cells})
        with pytest.raises(UnusableResults, match="its cells are not a list of names"):
            store.sweep()


class TestProvenance:
    def test_it_is_kept_once_and_found_by_its_key(self, store):
        surroundings = provenance()
        mark = key(surroundings)
        store.put_provenance(mark, surroundings)
        store.put_provenance(mark, {"other": 1})
        assert store.provenance(mark) == surroundings
        assert store.provenance("lost") == {}

    def test_it_names_versions_and_no_person(self):
        found = provenance()
        assert {"benchbed", "commit", "python", "packages", "processor", "cores"} <= set(found)
        assert str(Path.home()) not in json.dumps(found)
