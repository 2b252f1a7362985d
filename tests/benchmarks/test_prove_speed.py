"""The bars of speed, and the table that ``make prove`` writes: results/proof/speed.md."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import sides
import torch
from between import KINDS, between
from jobs import JOBS, OTHER_LAWS, job
from measured import NAMES, against_floor, against_home_made, fitting, places
from pairs import pairs
from speed_table import FLOOR_JOB, bars, speed_table, unexpected

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 7


@pytest.mark.prove
@pytest.mark.filterwarnings("default")  # what a compiler warns of would stop it as an error
def test_write_the_table_and_reach_the_bars():
    """But for those that are listed as not reached, which may not fall far behind."""
    torch.manual_seed(80)
    homes = []
    for title in JOBS:
        for pair in pairs(job(title)):
            _say(title, pair.label)
            homes.append(against_home_made(job(title), pair, ROUNDS))
    floors = []
    for title in JOBS:
        for name in fitting(title):
            _say(title, name)
            floors.append(against_floor(title, name, ROUNDS, compile_too=title == FLOOR_JOB))
    for name in NAMES:
        for title in places(name, list(JOBS), OTHER_LAWS):
            if title in OTHER_LAWS:
                floors.append(against_floor(title, name, ROUNDS))
    parts = [between(FLOOR_JOB, name, ROUNDS) for name in KINDS]
    path = ROOT / "results" / "proof" / "speed.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(speed_table(floors, homes, ROUNDS, sides.CELL, parts))
    assert unexpected(bars(floors, homes)) == []


def _say(*words: str) -> None:
    """Show on a long run where it is, past pytest's capture only under -s."""
    print(*words, file=sys.stderr, flush=True)
