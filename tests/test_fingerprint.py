"""What a cell's id follows: every source its numbers depend on."""

from __future__ import annotations

import pytest

from benchbed.sweep import fingerprint
from benchbed.sweep.fingerprint import ROOT, _reach, fingerprint_of, foundations


@pytest.mark.parametrize(
    "needed",
    [
        "contracts/objective.py", "layout.py", "rng.py", "enumeration.py",
        "families/bernoulli.py", "estimators/_antithetic_bits.py",
    ],
)  # fmt: skip
def test_an_estimator_brings_all_it_stands_on(needed):
    reached = _reach(ROOT / "estimators" / "disarm.py")
    reached |= _reach(ROOT / "families" / "__init__.py") if "families" in needed else set()
    assert ROOT / needed in reached
    assert ROOT / "errors.py" not in reached  # a message moves no number


def test_an_objective_brings_its_family_and_its_model():
    reached = {str(path.relative_to(ROOT)) for path in _reach(ROOT / "objectives/digits_vae.py")}
    assert {"families/bernoulli.py", "objectives/_digits_model.py", "layout.py"} <= reached


def test_the_measurement_torch_and_numpy_count(monkeypatch):
    found = foundations()
    assert {"measurement", "torch", "numpy"} == set(found)
    monkeypatch.setattr(fingerprint, "MEASUREMENT", ("cell.py",))
    foundations.cache_clear()
    assert foundations()["measurement"] != found["measurement"]
    monkeypatch.undo()
    foundations.cache_clear()


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("helper.py", "from helper import SCALE"),
        ("helper.py", "import helper"),
        ("tools/__init__.py", "from tools import SCALE"),
        ("package/helper.py", "from package.helper import SCALE"),
        ("package/helper.py", "import package.helper"),
        ("package/helper.py", "from .helper import SCALE"),
    ],
)
def test_a_module_of_yours_brings_what_it_imports(tmp_path, place, line):
    mine = tmp_path / "package" / "mine.py" if "package" in place else tmp_path / "mine.py"
    helper = tmp_path / place
    helper.parent.mkdir(exist_ok=True)
    mine.write_text(f"{line}\n\ndef draw(objective, params, draws, noise):\n    return SCALE\n")
    helper.write_text("SCALE = 1\n")
    before = fingerprint_of(f"{mine}:draw", "")
    helper.write_text("SCALE = 1  # the same\n")
    assert fingerprint_of(f"{mine}:draw", "") == before
    helper.write_text("SCALE = 2\n")
    assert fingerprint_of(f"{mine}:draw", "") != before
