"""Row P: faults put into our own code; each is caught by a law, which holds without it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from disk import Disk
from test_power_loss import held, states

import mbgd
import mbgd.data.order
import mbgd.loop.steps
from mbgd.data.order import Order
from mbgd.desk import recorder, standing
from mbgd.desk.run import fitting, module_plan
from mbgd.errors import StorageError
from mbgd.record import checkpoint
from mbgd.store import files
from short_runs import W, X, Y, fit, fresh_chance, net, outcome, resume, saved_aside, whole_steps, words

Patch = pytest.MonkeyPatch
GOLDEN = Path(__file__).parent.parent / "golden" / "order.json"


# --- the laws: each raises, or fails an assertion, where it does not hold ------------------------------------------------


def a_power_loss_takes_nothing_announced(patch: Patch, mutate: Callable[[Patch], None], place: Path) -> None:
    disk = Disk(place, patch)
    mutate(patch)
    fit(place / "run", epochs=0.15)
    patch.undo()
    for n, how in states(disk):
        with tempfile.TemporaryDirectory(dir=place) as folder:
            held(disk, n, how, Path(folder) / "state")


def a_save_that_the_disk_garbles_leaves_as_many(patch: Patch, mutate: Callable[[Patch], None], place: Path) -> None:
    for step in (1, 2):
        checkpoint.save(place, step=step, tensors={"w": torch.ones(9)}, facts={})
    mutate(patch)
    real = files._sync

    def garbled(path: Path) -> None:
        real(path)
        if path.name == "state.safetensors":
            path.write_bytes(path.read_bytes()[:-1] + b"!")

    patch.setattr(files, "_sync", garbled)
    with contextlib.suppress(StorageError):
        checkpoint.save(place, step=3, tensors={"w": torch.ones(9)}, facts={})
    patch.undo()
    assert whole_steps(place) == [1, 2]


def the_order_is_of_seed_and_epoch(patch: Patch, mutate: Callable[[Patch], None], place: Path) -> None:
    mutate(patch)
    seen = [tuple(Order(97, seed).rows(epoch).tolist()) for seed in range(4) for epoch in range(4)]
    assert len(set(seen)) == len(seen)  # none twice: not that of (0, 1) at (1, 0)


def the_order_is_the_golden_one(patch: Patch, mutate: Callable[[Patch], None], place: Path) -> None:
    """Compared as it comes, not sorted."""
    mutate(patch)
    for epoch, rows in json.loads(GOLDEN.read_text())["shuffle n=10 seed=0"].items():
        assert Order(10, seed=0).rows(int(epoch)).tolist() == rows


def a_stopped_run_resumes_to_the_same_bits(patch: Patch, mutate: Callable[[Patch], None], place: Path) -> None:
    fit(place / "whole", epochs=1)
    mutate(patch)
    fresh_chance()
    flow = fitting(net(), (X, Y, W), plan=module_plan(words(epochs=1), None), out=place / "run")
    while next(flow).progress.steps_done < 11:
        pass
    flow.close()
    saved_aside()
    patch.undo()
    resume(place / "run")
    assert outcome(place / "run") == outcome(place / "whole")


def the_loss_shown_is_the_mean_over_rows(patch: Patch, mutate: Callable[[Patch], None], place: Path) -> None:
    """Batches of 8 rows and one of 3, with weights: the rate is so low that the weights stay where they are."""
    mutate(patch)
    torch.manual_seed(1)
    model = torch.nn.Linear(3, 1).double()
    x, y, w = X[:35], Y[:35], W[:35]
    with torch.no_grad():
        expected = float((w * (model(x)[:, 0] - y) ** 2).sum() / w.sum())
    run = mbgd.fit(model, (x, y, w), loss="squared_error", batch_size=8, epochs=1, learning_rate=1e-30)
    shown = run.history["loss"][-1]
    assert shown == pytest.approx(expected, rel=1e-12)  # sums of 35 numbers in float64


# --- the faults ----------------------------------------------------------------------------------------------------------


def nothing(_: Patch) -> None:
    pass


def no_fsync_of_files(patch: Patch) -> None:
    patch.setattr(files, "_sync", lambda _: None)


def no_fsync_of_folders(patch: Patch) -> None:
    patch.setattr(files, "_sync_folder", lambda _: None)


def rename_before_fsync(patch: Patch) -> None:
    sync, sync_folder = files._sync, files._sync_folder

    def written(final: Path, data: Any, *, verify: Callable[[Path], object]) -> None:
        files._make(final.parent)
        temporary = final.parent / f".tmp-1-{'0' * 32}-{final.name}"
        os.mkdir(temporary)
        for name, part in data.items():
            files._write_new(temporary / name, part)
        os.rename(temporary, final)
        sync_folder(final.parent)
        for name in data:
            sync(final / name)
        sync_folder(final)
        verify(final)

    patch.setattr(checkpoint, "write_folder", written)


def announced_before_it_is_written(patch: Patch) -> None:
    real = recorder.save

    def save(run: Path, **how: Any) -> Any:
        holder._tell(recorder.Saved(how["step"]))
        return real(run, **how)

    made, holder = recorder.Recorder.__init__, None

    def init(self: Any, *given: Any, **how: Any) -> None:
        nonlocal holder
        made(self, *given, **how)
        holder = self

    patch.setattr(recorder.Recorder, "__init__", init)
    patch.setattr(recorder, "save", save)


def rotate_before_verify(patch: Patch) -> None:
    real = checkpoint.write_folder

    def written(final: Path, data: Any, *, verify: Callable[[Path], object]) -> None:
        def late(path: Path) -> None:
            shutil.rmtree(min(final.parent.glob("step-*")))
            verify(path)

        real(final, data, verify=late)

    patch.setattr(checkpoint, "write_folder", written)


def no_reading_back(patch: Patch) -> None:
    patch.setattr(checkpoint, "_verify_new", lambda _: None)


def seed_plus_epoch(patch: Patch) -> None:
    real = mbgd.data.order.shuffle
    patch.setattr(mbgd.data.order, "shuffle", lambda n, *, seed, epoch: real(n, seed=seed + epoch, epoch=0))


def sorted_before_compared(patch: Patch) -> None:
    real = mbgd.data.order.shuffle
    patch.setattr(mbgd.data.order, "shuffle", lambda n, *, seed, epoch: np.sort(real(n, seed=seed, epoch=epoch)))


def fetched_instead_of_trained(patch: Patch) -> None:
    """The place of a reader that is a batch ahead."""
    real = standing.to_checkpoint

    def ahead(engine: Any, at: Any) -> Any:
        cursor = at.progress.cursor
        return real(engine, replace(at, progress=replace(at.progress, cursor=replace(cursor, row=cursor.row + 4))))

    patch.setattr(recorder, "to_checkpoint", ahead)


def no_state_of_the_optimizer(patch: Patch) -> None:
    real = standing.to_checkpoint

    def without(engine: Any, at: Any) -> Any:
        tensors, facts = real(engine, at)
        return {k: torch.zeros_like(v) if "exp_avg" in k else v for k, v in tensors.items()}, facts

    patch.setattr(recorder, "to_checkpoint", without)


def a_copy_that_training_changes(patch: Patch) -> None:
    """Copied in the thread that writes, while the next steps are trained: here, after them."""
    real, before = recorder.to_checkpoint, []  # type: ignore[var-annotated]

    def late(engine: Any, at: Any) -> Any:
        before.append(at)
        return real(engine, before[-2] if len(before) > 2 else at)

    patch.setattr(recorder, "to_checkpoint", late)


def mean_of_means(patch: Patch) -> None:
    patch.setattr(mbgd.loop.steps, "weighted_mean", lambda losses, weights: float((losses / weights).mean()))
    from mbgd.desk import train

    patch.setattr(train, "weighted_mean", lambda losses, weights: float((losses / weights).mean()))


Law = Callable[[Patch, Callable[[Patch], None], Path], None]
FAULTS: dict[Callable[[Patch], None], Law] = {
    no_fsync_of_files: a_power_loss_takes_nothing_announced,
    no_fsync_of_folders: a_power_loss_takes_nothing_announced,
    rename_before_fsync: a_power_loss_takes_nothing_announced,
    announced_before_it_is_written: a_power_loss_takes_nothing_announced,
    rotate_before_verify: a_save_that_the_disk_garbles_leaves_as_many,
    no_reading_back: a_save_that_the_disk_garbles_leaves_as_many,
    seed_plus_epoch: the_order_is_of_seed_and_epoch,
    sorted_before_compared: the_order_is_the_golden_one,
    fetched_instead_of_trained: a_stopped_run_resumes_to_the_same_bits,
    no_state_of_the_optimizer: a_stopped_run_resumes_to_the_same_bits,
    a_copy_that_training_changes: a_stopped_run_resumes_to_the_same_bits,
    mean_of_means: the_loss_shown_is_the_mean_over_rows,
}


LAWS = [  # that of power loss has a file of its own
    pytest.param(law, id=law.__name__, marks=[pytest.mark.slow] if law is a_power_loss_takes_nothing_announced else [])
    for law in dict.fromkeys(FAULTS.values())
]


@pytest.mark.parametrize("law", LAWS)
def test_the_law_holds_for_the_code_as_it_is(law: Law, tmp_path: Path, monkeypatch: Patch) -> None:
    law(monkeypatch, nothing, tmp_path)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_fault_is_caught(fault: Callable[[Patch], None], tmp_path: Path, monkeypatch: Patch) -> None:
    with pytest.raises((AssertionError, mbgd.MBGDError, KeyError)):
        FAULTS[fault](monkeypatch, fault, tmp_path)
