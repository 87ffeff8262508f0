"""Law: a checkpoint that was announced comes back to the last bit, any changed byte is found, and an older one steps in."""

from __future__ import annotations

import errno
import os
import random
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mbgd.errors import SavedFileError, StorageError
from mbgd.record import checkpoint
from mbgd.store import seal, unseal

FACTS = {"progress": {"steps_done": 3, "epoch": 0, "row": 96}, "best": float("-inf"), "rate": 0.1, "name": "é"}


def tensors(seed: int = 0) -> dict[str, Tensor]:
    """One of each kind that a run may hold, with the bits that are easily lost: NaN with a payload, -0.0, scalars, empty."""
    draw = torch.Generator().manual_seed(seed)
    base = torch.randn(6, 4, generator=draw)
    odd = torch.tensor([0x7FC00001, -0x80000000, 0x7F800000, 1], dtype=torch.int64).to(torch.int32).view(torch.float32)
    return {
        "model.weight": base,
        "model.tied": base,
        "model.part": base[1:3],
        "model.transposed": base.T,
        "model.odd": odd,
        "optimizer.0.step": torch.tensor(3.0),
        "double": torch.randn(5, generator=draw, dtype=torch.float64),
        "bfloat16": torch.randn(7, generator=draw).to(torch.bfloat16),
        "half": torch.randn(3, generator=draw).half(),
        "int64": torch.tensor([-(2**62), 0, 2**62]),
        "bool": torch.tensor([True, False, True]),
        "uint8": torch.arange(9, dtype=torch.uint8),
        "empty": torch.empty(0, 3),
        "gradient": torch.ones(2, requires_grad=True),
    }


def same_bits(a: Tensor, b: Tensor) -> bool:
    def raw(tensor: Tensor) -> list[int]:
        return tensor.detach().contiguous().reshape(-1).view(torch.uint8).tolist() if tensor.numel() else []

    return a.shape == b.shape and a.dtype == b.dtype and raw(a) == raw(b)


def save(run: Path, step: int, **more: int) -> Path:
    small = {"w": torch.full((3,), float(step)), "step": torch.tensor(step)}
    return checkpoint.save(run, step=step, tensors=small, facts={"step": step}, **more)


def found_step(run: Path) -> int:
    found = checkpoint.newest(run)
    assert found is not None
    assert found.checkpoint.tensors["step"].item() == found.checkpoint.step == found.checkpoint.facts["step"]
    return found.checkpoint.step


# --- it comes back ------------------------------------------------------------------------------------------------------


def test_every_tensor_and_fact_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    held = tensors()
    path = checkpoint.save(tmp_path, step=123, tensors=held, facts=FACTS)
    assert path == tmp_path / "checkpoints" / "step-000000000123"
    assert sorted(file.name for file in path.iterdir()) == ["manifest.json", "state.safetensors"]
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.notices == ()
    assert (found.checkpoint.step, found.checkpoint.path, found.checkpoint.facts) == (123, path, FACTS)
    assert found.checkpoint.tensors.keys() == held.keys()
    for name, tensor in held.items():
        assert same_bits(found.checkpoint.tensors[name], tensor), name


def test_a_run_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path) is None
    (tmp_path / "checkpoints" / ".tmp-1-0123456789abcdef0123456789abcdef-step-000000000001").mkdir(parents=True)
    assert checkpoint.newest(tmp_path) is None


def test_what_is_found_stays_whole_when_its_folder_is_rotated_away(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    found = checkpoint.newest(tmp_path)
    assert found is not None
    shutil.rmtree(path)
    assert found.checkpoint.tensors["w"].tolist() == [1.0, 1.0, 1.0]


# --- any changed byte is found ------------------------------------------------------------------------------------------


def test_any_changed_byte_is_found_and_the_one_before_taken(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, step=1, tensors=tensors(1), facts=FACTS)
    path = checkpoint.save(tmp_path, step=2, tensors=tensors(2), facts=FACTS)
    places = [(path / "manifest.json", place) for place in range((path / "manifest.json").stat().st_size)]
    state = path / "state.safetensors"
    draw = random.Random(0)
    places += [(state, place) for place in draw.sample(range(state.stat().st_size), 200)]
    for file, place in places:
        whole = file.read_bytes()
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        file.write_bytes(damaged)
        with pytest.raises(SavedFileError):
            checkpoint.load(path)
        file.write_bytes(whole)
    checkpoint.load(path)
    state.write_bytes(state.read_bytes()[:-1] + b"\x00")
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.checkpoint.step == 1
    assert same_bits(found.checkpoint.tensors["double"], tensors(1)["double"])
    assert len(found.notices) == 1
    assert str(path) in found.notices[0]
    assert "SHA-256" in found.notices[0]


@pytest.mark.parametrize("name", ["manifest.json", "state.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "zeroed", "zero tail", "longer", "gone", "swapped"])
def test_truncation_zeros_and_swapped_files_are_found(tmp_path: Path, name: str, damage: str) -> None:
    old, new = save(tmp_path, 1), save(tmp_path, 2)
    whole = (new / name).read_bytes()
    half = len(whole) // 2
    states = {
        "cut": whole[:half],
        "emptied": b"",
        "zeroed": bytes(len(whole)),
        "zero tail": whole[:half] + bytes(len(whole) - half),
        "longer": whole + b"\n",
        "swapped": (old / name).read_bytes(),
    }
    if damage == "gone":
        (new / name).unlink()
    else:
        (new / name).write_bytes(states[damage])
    assert found_step(tmp_path) == 1


def test_a_checkpoint_under_the_name_of_another_step_is_found(tmp_path: Path) -> None:
    save(tmp_path, 1)
    shutil.copytree(tmp_path / "checkpoints" / "step-000000000001", tmp_path / "checkpoints" / "step-000000000009")
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.checkpoint.path.name == "step-000000000001"
    assert "manifest.json is of step 1" in found.notices[0]


def test_where_none_is_whole_the_sentence_says_how_to_go_on(tmp_path: Path) -> None:
    for step in (1, 2):
        (save(tmp_path, step) / "manifest.json").write_bytes(b"{}")
    with pytest.raises(SavedFileError, match=r"all 2 of .* are damaged; train again with `mbgd train --plan"):
        checkpoint.newest(tmp_path)


def test_one_that_may_not_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, closed = save(tmp_path, 1), save(tmp_path, 2) / "manifest.json"
    opened = Path.open

    def refuse(path: Path, *words: object, **more: object) -> object:
        if path == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, *words, **more)  # type: ignore[call-overload]  # whatever it was called with

    monkeypatch.setattr(Path, "open", refuse)
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.checkpoint.path == whole
    (whole / "manifest.json").write_bytes(b"{}")
    with pytest.raises(StorageError, match=f"permission is missing to read {closed}; change its owner or mode"):
        checkpoint.newest(tmp_path)


def test_a_newer_format_is_said_not_passed_over(tmp_path: Path) -> None:
    save(tmp_path, 1)
    path = save(tmp_path, 2)
    manifest = unseal((path / "manifest.json").read_bytes())
    (path / "manifest.json").write_bytes(seal({**manifest, "format": 2}))
    with pytest.raises(SavedFileError, match="has format 2, this MBGD reads 1; install"):
        checkpoint.newest(tmp_path)


# --- nothing is lost ----------------------------------------------------------------------------------------------------


def test_two_are_kept_and_the_newest_is_found(tmp_path: Path) -> None:
    for step in (5, 40, 300, 2000):
        save(tmp_path, step)
        assert found_step(tmp_path) == step
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-000000000300", "step-000000002000"]


def test_rotation_counts_whole_ones_only(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (save(tmp_path, 2) / "state.safetensors").write_bytes(b"")
    save(tmp_path, 3)
    (tmp_path / "checkpoints" / "step-000000000003" / "state.safetensors").write_bytes(b"")
    assert found_step(tmp_path) == 1
    save(tmp_path, 2)  # the run went on from 1: 1 is still the only other whole one
    shutil.rmtree(tmp_path / "checkpoints" / "step-000000000002-2")
    assert found_step(tmp_path) == 1


def test_a_step_saved_again_replaces_nothing_and_is_newer(tmp_path: Path) -> None:
    first = save(tmp_path, 7)
    for finished in range(1, 12):
        checkpoint.save(tmp_path, step=7, tensors={"step": torch.tensor(7)}, facts={"finished": finished})
        found = checkpoint.newest(tmp_path)
        assert found is not None
        assert found.checkpoint.facts == {"finished": finished}
    assert not first.exists()
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


@pytest.mark.parametrize("call", ["fsync", "posix_fallocate", "rename"])
def test_a_save_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path if call == "rename" else os, call, refuse)
    with pytest.raises(StorageError, match="is full"):
        save(tmp_path, 3)
    monkeypatch.undo()
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-000000000001", "step-000000000002"]
    assert found_step(tmp_path) == 2


@pytest.mark.parametrize("name", ["manifest.json", "state.safetensors"])
def test_a_save_that_the_disk_garbles_is_found_before_anything_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    fsync = os.fsync

    def garble(descriptor: int) -> None:
        fsync(descriptor)
        file = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if file.name == name:
            data = file.read_bytes()
            file.write_bytes(data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])

    monkeypatch.setattr(os, "fsync", garble)
    with pytest.raises(StorageError, match="what was read back differs"):
        save(tmp_path, 3)
    monkeypatch.undo()
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-000000000001", "step-000000000002"]


def test_killed_while_rotating_the_newest_is_still_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    save(tmp_path, 1, keep=1)
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "remove_folder", kill)
        with pytest.raises(Killed):
            save(tmp_path, 2, keep=1)
    assert found_step(tmp_path) == 2
    shutil.rmtree(tmp_path / "checkpoints" / "step-000000000002")
    assert found_step(tmp_path) == 1  # not removed before the newer one was whole
