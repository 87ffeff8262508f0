"""Row C: after power loss at any call of the store a checkpoint loads that is no older than the last one announced."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from disk import LEFT, Disk, write_out

from mbgd.desk.folder import read_plan
from mbgd.desk.run_files import PLAN
from mbgd.record.checkpoint import newest
from mbgd.record.history import cut_back, rewind
from short_runs import fit, outcome, resume

EPOCHS = 1  # 23 steps, each saved


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    """The calls of one whole run in ROOT/run."""
    root = tmp_path_factory.mktemp("disk")
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(root, patch)
        fit(root / "run", epochs=EPOCHS)
    return disk


def states(disk: Disk) -> list[tuple[int, str]]:
    return [(n, how) for n in range(1, len(disk.calls) + 1) for how in LEFT]


def held(disk: Disk, n_calls: int, how: str, place: Path) -> int:
    """The step that is found after a power loss there; what must hold is checked."""
    top, said = disk.after(n_calls)
    write_out(top, place, how)
    run = place / "run"
    if said < 0:
        return -1
    found = newest(run)
    assert found is not None, (n_calls, how)
    step = found.checkpoint.step
    assert found.notices == (), (n_calls, how)  # nothing has its name before it is on disk
    assert step >= said, (n_calls, how)
    led_here = found.checkpoint.history
    assert led_here is not None
    if step:
        assert len(cut_back(run / "history.jsonl", led_here)) == step, (n_calls, how)
        lines = rewind(run / "history.jsonl", step)
        assert lines["step"] == list(range(1, step + 1)), (n_calls, how)  # no checkpoint without what led to it
    if said > 0:
        assert read_plan(run)["command"] == "fit"
    return step


def test_the_calls_played_back_are_the_folder_as_it_is(disk: Disk, tmp_path: Path) -> None:
    """The disk in memory is a true copy: byte for byte, but for the lock, which says nothing after a power loss."""
    top, said = disk.after(len(disk.calls))
    write_out(top, tmp_path / "all", "kept")
    real, ours = disk.root / "run", tmp_path / "all" / "run"
    files = sorted(str(path.relative_to(real)) for path in real.rglob("*") if path.is_file() and path.name != ".lock")
    assert files == sorted(str(path.relative_to(ours)) for path in ours.rglob("*") if path.is_file())
    assert all((real / name).read_bytes() == (ours / name).read_bytes() for name in files)
    assert said == 23


def test_a_power_loss_anywhere_leaves_what_was_announced(disk: Disk, tmp_path: Path) -> None:
    some = random.Random(2).sample(states(disk), 150)
    assert max(held(disk, n, how, tmp_path / f"{n}-{how}") for n, how in some) >= 20


@pytest.mark.slow
def test_a_power_loss_after_each_call_leaves_what_was_announced(disk: Disk, tmp_path: Path) -> None:
    everything = states(disk)
    for n, how in everything:
        held(disk, n, how, tmp_path / "state")
        shutil.rmtree(tmp_path / "state")
    print(f"{len(everything)} states")
    assert len(everything) >= 1000


@pytest.mark.parametrize("count", [2, pytest.param(40, marks=pytest.mark.slow)])
def test_a_run_goes_on_from_such_a_state_to_the_same_bits(count: int, disk: Disk, tmp_path: Path) -> None:
    expected = outcome(disk.root / "run", checkpoint=False)
    chance, done = random.Random(5), 0
    while done < count:
        n, how = chance.choice(states(disk))
        place = tmp_path / f"{n}-{how}-{done}"
        if held(disk, n, how, place) < 0 or not (place / "run" / PLAN).exists():
            continue
        resume(place / "run")
        assert outcome(place / "run", checkpoint=False) == expected, (n, how)
        done += 1
