"""Law: a file or folder is the old one or the whole new one, whatever fails; one process at a time owns a run folder."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch

import mbgd
from mbgd import store
from mbgd.errors import PlanError, SavedFileError, StorageError
from mbgd.store import files, lock

REFUSALS = {
    errno.ENOSPC: "is full; free some space",
    errno.EROFS: "is read-only; choose another folder",
    errno.EACCES: "permission is missing to write",
    errno.EIO: "the system failed to write",
}


def refuse(number: int) -> Callable[..., None]:
    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- a file is the old one or the whole new one -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "number"),
    [("posix_fallocate", errno.ENOSPC), *((call, number) for call in ("fsync", "replace") for number in REFUSALS)],
)
def test_a_write_that_fails_anywhere_leaves_the_old_file_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, call, refuse(number))
    with pytest.raises(StorageError, match=REFUSALS[number]) as caught:
        store.write_bytes(path, b"new")
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["plan.json"]


def test_a_write_stopped_by_anything_else_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), store.writing(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["predictions.csv"]


def test_bytes_are_synced_before_the_rename_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def seen_fsync(descriptor: int) -> None:
        calls.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        fsync(descriptor)

    def seen_replace(a: Path, b: Path) -> None:
        calls.append("rename")
        replace(a, b)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "replace", seen_replace)
    with store.writing(tmp_path / "a") as temporary:
        temporary.write_bytes(b"x")
    assert calls == ["file", "rename", "folder"]


def test_a_disk_that_gives_back_other_bytes_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(b"old")
    monkeypatch.setattr(Path, "read_bytes", lambda _: b"nex")
    with pytest.raises(StorageError, match="what was read back differs"):
        store.write_bytes(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"


def test_a_folder_is_placed_whole_or_not_at_all(tmp_path: Path) -> None:
    def refuse_it(folder: Path) -> None:
        assert names(folder) == ["a", "b"]
        raise OSError(errno.EIO, "differs")

    with pytest.raises(StorageError, match="differs"):
        store.write_folder(tmp_path / "step", {"a": b"1", "b": b""}, verify=refuse_it)
    assert names(tmp_path) == []
    store.write_folder(tmp_path / "step", {"a": b"1", "b": b""}, verify=lambda _: None)
    assert names(tmp_path / "step") == ["a", "b"]
    store.remove_folder(tmp_path / "step")
    assert names(tmp_path) == []


def test_a_folder_is_read_before_it_gets_its_name(tmp_path: Path) -> None:
    final = tmp_path / "step"
    seen: list[bool] = []
    store.write_folder(final, {"a": b"1"}, verify=lambda _: seen.append(final.exists()))
    assert seen == [False]


def test_a_file_system_that_cannot_reserve_space_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", refuse(errno.EOPNOTSUPP))
    store.write_bytes(tmp_path / "a", b"x")
    assert (tmp_path / "a").read_bytes() == b"x"


# --- lines --------------------------------------------------------------------------------------------------------------


def test_lines_follow_each_other_and_one_that_failed_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "history.jsonl"
    store.append_line(path, "one")

    def half(file: BinaryIO, data: bytes) -> None:
        file.write(data[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files, "_write_all", half)
        with pytest.raises(StorageError, match="is full"):
            store.append_line(path, "lost")
    store.append_line(path, "two")
    assert path.read_text() == "one\ntwo\n"
    store.sync(path)


# --- JSON ---------------------------------------------------------------------------------------------------------------


def test_json_comes_back_and_what_json_cannot_say_is_null(tmp_path: Path) -> None:
    value = {
        "b": [1, 0.1, float("nan"), float("inf")],
        "a": ("x", None, True),
        "é": np.float32(0.5),
        "t": torch.tensor(3),
    }
    store.write_json(tmp_path / "a.json", value)
    expected = {"a": ["x", None, True], "b": [1, 0.1, None, None], "é": 0.5, "t": 3}
    assert store.read_json(tmp_path / "a.json") == expected
    with pytest.raises(TypeError, match="Path is no JSON value"):
        store.write_json(tmp_path / "b.json", {"path": Path()})
    assert names(tmp_path) == ["a.json"]


def test_any_changed_byte_of_a_sealed_value_is_found() -> None:
    whole = store.seal({"step": 12, "facts": {"loss": 0.1, "name": "a b", "n": None}})
    assert store.unseal(whole) == {"step": 12, "facts": {"loss": 0.1, "name": "a b", "n": None}}
    for place in range(len(whole)):
        for bit in (1, 16, 128):
            damaged = bytearray(whole)
            damaged[place] ^= bit
            with pytest.raises(ValueError):
                store.unseal(bytes(damaged))
    for length in range(len(whole)):
        with pytest.raises(ValueError):
            store.unseal(whole[:length])


def test_a_file_sealed_by_its_meaning_is_read_as_it_was_or_not_at_all(tmp_path: Path) -> None:
    """Every bit of it, the names of the seal's own entries among them: no changed file looks like one without a seal."""
    path = tmp_path / "plan.json"
    facts = {"loss": 0.1, "small": 1e-07, "é": "a b\udcff", "n": None}
    store.write_sealed(path, {"step": 12, "facts": facts, "folds": {10: [True], 9: float("nan")}})
    expected = {"step": 12, "facts": facts, "folds": {"10": [True], "9": None}}
    assert store.read_sealed(path) == expected
    whole = path.read_bytes()
    other_spellings = 0
    for place in range(len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            with contextlib.suppress(SavedFileError):
                found = store.read_sealed(path)
                assert repr(found) == repr(store.opened(json.loads(whole))[0]), (place, bit)
                other_spellings += 1
    assert other_spellings == 5  # 1E-07, and capitals in \\udcff
    path.write_text(json.dumps(json.loads(whole), indent=None, sort_keys=False))
    assert store.read_sealed(path) == expected
    path.write_text(json.dumps(expected))
    assert store.read_sealed(path) == expected  # of a version that sealed nothing
    path.write_text("[1]")
    assert store.read_sealed(path) == [1]


def test_files_that_are_missing_or_no_json_get_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SavedFileError, match="must exist, it does not"):
        store.read_json(tmp_path / "plan.json")
    with pytest.raises(SavedFileError, match="must exist"):
        store.sha256(tmp_path / "plan.json")
    for data in (b"", b"{", b"\xff\xfe", b"[" * 100_000):
        (tmp_path / "plan.json").write_bytes(data)
        with pytest.raises(SavedFileError, match="must hold JSON"):
            store.read_json(tmp_path / "plan.json")


def test_sha256_is_that_of_the_standard(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert store.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# --- folders and locks ----------------------------------------------------------------------------------------------------


def test_a_new_folder_is_new(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "a"
    store.new_folder(run)
    assert run.is_dir()
    store.new_folder(run)  # still empty: nothing is lost
    (run / "mine").touch()
    with pytest.raises(PlanError, match="must name a new folder"):
        store.new_folder(run)
    store.write_json(run / "plan.json", {})
    with pytest.raises(PlanError, match=f"mbgd resume {run}"):
        store.new_folder(run)
    (tmp_path / "file").touch()
    with pytest.raises(PlanError, match="must name a new folder"):
        store.new_folder(tmp_path / "file")
    with pytest.raises(StorageError, match="something of another kind"):
        store.new_folder(tmp_path / "file" / "run")


KILLED = """
import os, sys
from pathlib import Path
from mbgd import store
place = Path(sys.argv[1])
def die(folder): os.kill(os.getpid(), 9)
if sys.argv[2] == "folder": store.write_folder(place / "step", {"state": b"1"}, verify=die)
with store.writing(place / "out.csv") as half: die(half)
"""


def test_sweep_removes_what_dead_processes_left_and_nothing_else(tmp_path: Path) -> None:
    for what in ("file", "folder"):
        subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), what], check=False, env=paths())
    left = names(tmp_path)
    assert [name.split("-", 3)[3] for name in left] == ["out.csv", "step"]
    dead, here, word = left[0].split("-")[1], left[0].split("-")[2][:16], "0123456789abcdef" * 2
    mine = [f".tmp-{os.getppid()}-{here}{word[:16]}-live.csv", f".tmp-{dead}-{word}-of-another-machine.csv"]
    mine += [f".tmp-{dead}-mine", ".lock", "plan.json"]
    for name in mine:
        (tmp_path / name).touch()
    with store.writing(tmp_path / "live.csv") as live:
        store.sweep(tmp_path)
        store.sweep(tmp_path / "checkpoints")  # not there yet
        assert names(tmp_path) == sorted([*mine, live.name])


def test_the_holder_of_a_folder_knows_that_what_it_alone_writes_is_stale(tmp_path: Path) -> None:
    """Left by any process of any machine: by an earlier start of this one, or in another container."""
    word = "0123456789abcdef" * 2
    for name in ("plan.json", "out.csv"):
        (tmp_path / f".tmp-{os.getpid()}-{word}-{name}").touch()
    store.sweep(tmp_path, of_holder=lambda name: name == "plan.json")
    assert names(tmp_path) == [f".tmp-{os.getpid()}-{word}-out.csv"]


def test_one_process_at_a_time_owns_a_folder(tmp_path: Path) -> None:
    with store.FolderLock(tmp_path):
        held = json.loads((tmp_path / ".lock").read_text())
        assert held["pid"] == os.getpid()
        with pytest.raises(StorageError, match=f"in use by process {os.getpid()}; wait"), store.FolderLock(tmp_path):
            pass
        code = other_process(tmp_path)
        assert "in use by process" in code
    assert other_process(tmp_path) == "taken"
    with store.FolderLock(tmp_path):  # let go by the other's end
        pass


def test_a_lock_whose_file_was_removed_before_it_was_got_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whoever had it until then: a lock of a file without a name keeps nobody out."""
    real, left = lock._lock, [2]

    def removed_meanwhile(descriptor: int, **how: bool) -> None:
        real(descriptor, **how)
        left[0] -= 1
        if left[0] >= 0:
            (tmp_path / ".lock").unlink()

    monkeypatch.setattr(lock, "_lock", removed_meanwhile)
    with store.FolderLock(tmp_path):
        monkeypatch.undo()
        with pytest.raises(StorageError, match="in use by process"), store.FolderLock(tmp_path):
            pass
    assert left == [-1]


def test_a_lock_ends_with_its_process_though_its_forked_worker_lives_on(tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from pathlib import Path; from mbgd.store import FolderLock\n"
        f"lock = FolderLock(Path({str(tmp_path)!r})); lock.__enter__()\n"
        "child = os.fork()\n"
        "if not child: os.close(0); os.close(1); time.sleep(60); os._exit(0)\n"
        "print(child, flush=True); os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, env=paths(), check=True)
    worker = int(done.stdout)
    try:
        os.kill(worker, 0)  # it lives
        with store.FolderLock(tmp_path):
            pass
    finally:
        os.kill(worker, 9)


def test_without_locks_the_process_in_the_file_counts_while_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_lock", refuse(errno.ENOLCK))
    with store.FolderLock(tmp_path), pytest.raises(StorageError, match="in use by"), store.FolderLock(tmp_path):
        pass
    held = json.loads((tmp_path / ".lock").read_text())
    (tmp_path / ".lock").write_text(json.dumps({**held, "boot": "an earlier start of the machine"}))
    with store.FolderLock(tmp_path):
        pass


def other_process(folder: Path) -> str:
    program = (
        "from pathlib import Path; from mbgd.store import FolderLock; from mbgd.errors import StorageError\n"
        "try:\n"
        f" with FolderLock(Path({str(folder)!r})): print('taken')\n"
        "except StorageError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=paths(), check=True)
    return done.stdout.strip()


def paths() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(next(iter(mbgd.__path__))).parent)}
