"""Row E: a disk that is full, fails, is read-only or forbidden never leaves fewer whole checkpoints than there were."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mbgd.errors import StorageError
from mbgd.record import checkpoint
from mbgd.store import files
from short_runs import whole_steps

NUMBERS = 1 << 18  # a MiB of float32: with two kept and one being written, three of the four MiB of the small disk


def save(run: Path, step: int) -> Path:
    return checkpoint.save(run, step=step, tensors={"w": torch.full((NUMBERS,), float(step))}, facts={})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB in memory; only root may make one."""
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"mounting takes root: {made.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_full_at_any_of_20_places_of_a_save(small_disk: Path) -> None:
    run = small_disk / "run"
    for step in (1, 2):
        save(run, step)
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    for twentieth in range(20):
        room = (1 << 20) * twentieth // 20  # always less than a save takes
        with (small_disk / "ballast").open("wb") as ballast:
            ballast.write(b"x" * (free - room))
        with pytest.raises(StorageError, match="is full; free some space"):
            save(run, 3)
        assert whole_steps(run) == [1, 2], twentieth
        assert not list(run.rglob(".tmp-*"))
        (small_disk / "ballast").unlink()
    save(run, 3)
    assert whole_steps(run) == [2, 3]


def test_a_read_only_disk(small_disk: Path) -> None:
    run = small_disk / "run"
    for step in (1, 2):
        save(run, step)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StorageError, match="is read-only; choose another folder"):
        save(run, 3)
    assert whole_steps(run) == [1, 2]
    found = checkpoint.newest(run)  # it can be gone on with elsewhere
    assert found is not None


@pytest.mark.parametrize("place", range(20))
def test_a_write_that_is_refused_half_way(place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing was reserved, as on file systems that cannot: the disk is full at a twentieth of the bytes."""
    run = tmp_path / "run"
    for step in (1, 2):
        save(run, step)
    real = files._write_all

    def part_of_it(file: Any, data: bytes) -> None:
        if len(data) < NUMBERS:
            return real(file, data)
        real(file, data[: len(data) * place // 20])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", lambda *_: None)
    monkeypatch.setattr(files, "_write_all", part_of_it)
    with pytest.raises(StorageError, match="is full"):
        save(run, 3)
    assert whole_steps(run) == [1, 2]
    assert not list(run.rglob(".tmp-*"))


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "rename", "mkdir", "replace"])
def test_each_call_refused_each_time_it_comes(
    call: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of them, the second, and so on, until a save gets through: then the disk was as before after each."""
    run = tmp_path / "run"
    for step in (1, 2):
        save(run, step)
    real = getattr(os, call)
    for nth in range(1, 20):
        left = [nth]

        def refuse(*given: Any, left: list[int] = left, **how: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise OSError(number, os.strerror(number))
            return real(*given, **how)

        before = whole_steps(run)
        monkeypatch.setattr(os, call, refuse)
        try:
            save(run, 3 + nth)
        except StorageError:
            monkeypatch.setattr(os, call, real)
            assert set(whole_steps(run)) >= set(
                before
            )  # the last call comes after the rename: then it is there already
            continue
        monkeypatch.setattr(os, call, real)
        assert left[0] >= 0
        if left[0] > 0:  # no such call was refused
            break
    assert len(whole_steps(run)) >= 2
