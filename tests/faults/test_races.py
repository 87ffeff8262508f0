"""Two trainings that begin in one folder at the same moment: one has it, the other says so in a sentence and changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

RACER = Path(__file__).parent / "racer.py"
LOST = ("is in use by ", "was taken by another process", "' goes on with it")
ALL = ("new", "empty", "module", "never began", "one fails", "force", "resume and force", "names")
PAIRS = [
    pytest.param({"new": 2, "force": 1}, id="3 pairs"),
    pytest.param(dict.fromkeys(ALL, 3), id="24 pairs", marks=pytest.mark.slow),
    pytest.param({**dict.fromkeys(ALL, 62), "new": 66}, id="500 pairs", marks=pytest.mark.soak),
]


def races(place: Path, pairs: dict[str, int]) -> list[dict[str, Any]]:
    words = [str(word) for kind in pairs.items() for word in kind]
    done = subprocess.run(
        [sys.executable, str(RACER), str(place), "5", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return list(json.loads(done.stdout.splitlines()[-1]))


def is_lost(end: dict[str, Any]) -> bool:
    return end["code"] in (2, 5) and any(clause in end["message"] for clause in LOST)


@pytest.mark.parametrize("pairs", PAIRS)
def test_of_two_at_the_same_moment_one_trains(pairs: dict[str, int], tmp_path: Path) -> None:
    """Also in a folder that a killed start has left, with --force, against a resume; names that nobody gave are two."""
    winners: Counter[int] = Counter()
    for one in races(tmp_path, pairs):
        assert one["statuses"] == [0, 0], one
        assert one["left"] == [], one
        codes = [end["code"] for end in one["ends"]]
        if one["kind"] == "names":
            assert codes == [0, 0], one
            assert one["ended"] == ["runs/t-1", "runs/t-2"], one
            continue
        if one["kind"] == "one fails":  # before its plan: the other may have the folder, and nothing takes it away
            assert "it is full" in one["ends"][0]["message"] or is_lost(one["ends"][0]), one
            assert codes[1] == 0 or is_lost(one["ends"][1]), one
            assert one["ended"] == (["run"] if codes[1] == 0 else []), one
            assert codes[1] == 0 or one["inside"] == [], one  # an empty folder is anybody's, and who made it is gone
            continue
        assert sorted(code == 0 for code in codes) == [False, True], one
        assert one["names"] == one["ended"] == ["run"], one
        loser = one["ends"][codes[0] == 0]
        assert is_lost(loser), one
        winners[codes.index(0)] += 1
    print(f"{sum(pairs.values())} pairs, {dict(winners)}")
