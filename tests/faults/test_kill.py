"""Rows A and B: killed at any moment, a run resumes to the same bits or says in one sentence that it never began."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from short_runs import fit, outcome

KILLER = Path(__file__).parent / "killer.py"


def killer(*given: object) -> Any:
    done = subprocess.run(
        [sys.executable, str(KILLER), *map(str, given)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


SOME = (40,)
EVENTS = [
    pytest.param("one model", SOME, id="one model, some"),
    *(pytest.param(kind, range(1, 1000), id=f"{kind}, all", marks=mark) for kind, mark in (
        ("one model", pytest.mark.slow),
        *((kind, pytest.mark.soak) for kind in ("module", "refit", "folds", "members, refit")),
    )),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "events"), EVENTS)
def test_killed_before_any_call_that_changes_the_disk(kind: str, events: Any, tmp_path: Path) -> None:
    """From the making of the folder to the rename of result.json."""
    said = killer("events", kind, tmp_path, *events)
    whole = outcome(tmp_path / "whole", checkpoint=False)
    for one in said:
        if one["how"] in ("resumed", "begun anew", "ended"):
            folder = tmp_path / f"run-{one['event']}"
            assert outcome(folder, checkpoint=False) == whole, one
            assert one["how"] == "begun anew" or not list(folder.rglob(".tmp-*")), one
        else:
            assert one["how"] == "nothing", one
    if len(events) > 100:
        assert said[-1]["how"] == "ended"  # so each of them was met
        assert {"nothing", "begun anew", "resumed"} <= {one["how"] for one in said}
        print(f"{kind}: {len(said) - 1} moments")


KILLS = [
    pytest.param("fused", 200, 60, id="fused, 200 kills", marks=pytest.mark.slow),
    pytest.param("fused", 1000, 200, id="fused, 1000 kills", marks=pytest.mark.soak),
    pytest.param("autograd", 1000, 200, id="autograd, 1000 kills", marks=pytest.mark.soak),
]


@pytest.mark.parametrize(("engine", "kills", "epochs"), KILLS)
def test_killed_at_random_moments(engine: str, kills: int, epochs: int, tmp_path: Path) -> None:
    said = killer("random", engine, tmp_path / "killed", kills, epochs, 8)
    assert said["at"] >= kills / 2
    assert said["inside"] >= kills // 10
    fit(tmp_path / "whole", engine, epochs=epochs)
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")
    print(f"{engine}: {kills} kills, {said['inside']} inside a save")
