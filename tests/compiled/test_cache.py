from __future__ import annotations

import hashlib
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import llvmlite.binding
import numpy as np
import pytest
from numba import types

from mbgd.compiled import cache, cache_folder
from mbgd.compiled.cache import folder_name, kept_cfunc, kept_njit, place
from mbgd.compiled.cache_folder import DAY, cache_root, open_folder, sweep
from mbgd.compiled.entry import write_entry
from mbgd.store.temporary import temporary as being_written

NAMES = [c * 32 for c in "0123456789abcdef"]


@pytest.fixture(autouse=True)
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache for each test; the folder of its compiled kernels."""
    monkeypatch.setenv("MBGD_CACHE_DIR", str(tmp_path / "cache"))
    place.cache_clear()
    yield tmp_path / "cache" / "kernels" / folder_name(cache.SOURCES)
    place.cache_clear()


def twice(x: Any) -> Any:
    return x + x


def times(factor: float) -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        return x * factor

    return f


def use(function: Callable[[Any], Any] = twice) -> tuple[float, float, int, int]:
    """(f(float32 1.5), f(float64 1.5), read from disk, compiled) of a dispatcher that has seen nothing yet."""
    compiled = kept_njit(function)
    values = compiled(np.float32(1.5)), compiled(np.float64(1.5))
    stats = compiled.stats
    return *values, sum(stats.cache_hits.values()), sum(stats.cache_misses.values())


def test_what_was_compiled_once_is_read_afterwards(kernels: Path) -> None:
    assert use() == (3.0, 3.0, 0, 2)
    assert use() == (3.0, 3.0, 2, 0)
    assert list(kernels.glob("test_cache.twice-*.kernel"))


def test_functions_of_one_factory_are_told_apart_by_what_they_close_over() -> None:
    assert use(times(2.0))[0] == 3.0
    assert use(times(4.0)) == (6.0, 6.0, 0, 2)
    assert use(times(4.0)) == (6.0, 6.0, 2, 0)


def test_a_c_function_is_kept_as_well() -> None:
    signature = types.float64(types.float64)
    assert [kept_cfunc(twice, signature).cache_hits for _ in range(2)] == [0, 1]
    assert kept_cfunc(twice, signature).ctypes(1.5) == 3.0


def test_the_same_function_for_python_and_for_c_are_two() -> None:
    use()
    assert kept_cfunc(twice, types.float64(types.float64)).ctypes(1.5) == 3.0
    assert use() == (3.0, 3.0, 2, 0)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "garbage": lambda data: b"garbage",
    "half": lambda data: data[: len(data) // 2],
    "longer": lambda data: data + b"x",
    "a bit of the checksum": lambda data: flipped(data, 7),
    "a bit of the content": lambda data: flipped(data, len(data) // 2),
    "a page of zeros": lambda data: data[:4096] + bytes(4096) + data[8192:],
    "the checksum of nothing": lambda data: hashlib.sha256(b"").digest(),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_is_compiled_anew_and_replaced(kernels: Path, how: str) -> None:
    use()
    whole = {path: path.read_bytes() for path in kernels.iterdir()}
    for path, data in whole.items():
        path.write_bytes(DAMAGES[how](data))
    assert use() == (3.0, 3.0, 0, 2)
    assert set(whole) == set(kernels.iterdir())
    assert use() == (3.0, 3.0, 2, 0)


def run_code(mark: Path) -> Any:
    """What runs code of another's when it is unpickled."""

    class Planted:
        def __reduce__(self) -> Any:
            return (Path.touch, (mark,))

    return Planted()


def test_nothing_is_unpickled_before_its_checksum_is_seen_to_be_right(kernels: Path, tmp_path: Path) -> None:
    use()
    for path in kernels.iterdir():
        data = path.read_bytes()
        path.write_bytes(data[:32] + pickle.dumps(run_code(tmp_path / "ran")))
    assert use() == (3.0, 3.0, 0, 2)
    assert not (tmp_path / "ran").exists()


def test_a_kernel_under_the_name_of_another_is_not_read(kernels: Path) -> None:
    """Both are whole, and double or quadruple: the wrong one would be silent."""
    use(times(2.0))
    first = set(kernels.iterdir())
    use(times(4.0))
    both = sorted(first), sorted(set(kernels.iterdir()) - first)
    for one, other in zip(*both, strict=True):
        one_data, other_data = one.read_bytes(), other.read_bytes()
        one.write_bytes(other_data)
        other.write_bytes(one_data)
    assert use(times(2.0)) == (3.0, 3.0, 0, 2)
    assert use(times(4.0)) == (6.0, 6.0, 0, 2)
    assert use(times(2.0)) == (3.0, 3.0, 2, 0)


def test_whole_kernels_of_another_version_are_not_read_under_this_ones_name(
    kernels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "folder_name", lambda _: NAMES[0])
    use()
    shutil.copytree(kernels.parent / NAMES[0], kernels)
    monkeypatch.undo()
    monkeypatch.setenv("MBGD_CACHE_DIR", str(kernels.parent.parent))
    place.cache_clear()
    assert use() == (3.0, 3.0, 0, 2)


def test_a_whole_entry_that_says_something_else_is_compiled_anew(kernels: Path) -> None:
    use()
    for path in kernels.iterdir():
        write_entry(path, pickle.dumps("no compiled function"))
    assert use() == (3.0, 3.0, 0, 2)
    assert use() == (3.0, 3.0, 2, 0)


def test_a_folder_swept_while_we_run_costs_a_compilation_alone(kernels: Path) -> None:
    use()
    shutil.rmtree(kernels)
    assert use() == (3.0, 3.0, 0, 2)
    assert use() == (3.0, 3.0, 2, 0)


@pytest.mark.parametrize("at", ["write", "fsync", "replace"])
def test_a_full_disk_costs_a_compilation_alone(kernels: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        if at == "write":
            patch.setattr("mbgd.compiled.entry._digest", full)  # after the file was made, before it is whole
        else:
            patch.setattr(f"os.{at}", full)
        assert use() == (3.0, 3.0, 0, 2)
    assert list(kernels.iterdir()) == []
    assert use() == (3.0, 3.0, 0, 2)
    assert use() == (3.0, 3.0, 2, 0)


def test_what_a_killed_process_left_half_written_is_swept(kernels: Path) -> None:
    use()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with being_written(kernels / "x.kernel") as ours:
        left = ours.with_name(ours.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-"))
        left.write_bytes(b"half")
        ours.write_bytes(b"half")
        use(times(2.0))
        assert not left.exists()
        assert ours.exists()  # another thread may be writing it


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_cache import use
print(*use())
"""


def test_processes_that_compile_at_once_all_end_right(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=300)[0].split() for process in running]
    assert [words[:2] for words in said] == [["3.0", "3.0"]] * 3
    later = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    assert later == ["3.0", "3.0", "2", "0"]  # in another process, nothing is compiled


def test_a_change_of_any_kernel_file_is_another_folder(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.py").write_text("one")
    (tmp_path / "inner" / "b.py").write_text("two")
    names = [folder_name([tmp_path])]
    (tmp_path / "inner" / "b.py").write_text("twe")
    names.append(folder_name([tmp_path]))
    (tmp_path / "inner" / "b.py").rename(tmp_path / "inner" / "c.py")
    names.append(folder_name([tmp_path]))
    (tmp_path / "d.py").write_text("")
    names.append(folder_name([tmp_path]))
    assert len(set(names)) == len(names)
    (tmp_path / "notes.txt").write_text("no code")
    assert folder_name([tmp_path]) == names[-1]


def test_a_file_counts_as_a_folder_does_and_nothing_beside_it(tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("one")
    both = [tmp_path / "a.py", tmp_path / "b.py"]
    first, alone = folder_name(both), folder_name(both[:1])
    assert alone != first
    (tmp_path / "b.py").write_text("two")
    assert folder_name(both) != first
    assert folder_name(both[:1]) == alone


def test_every_file_that_writes_kernels_is_part_of_the_name() -> None:
    house = cache.SOURCES[0].parent
    writes = re.compile(r"^(?:from|import) (?:numba|llvmlite|mbgd\.compiled(?!\.news))", re.MULTILINE)
    files = {path for path in house.rglob("*.py") if writes.search(path.read_text())}
    counted = {path for source in cache.SOURCES for path in ([source] if source.is_file() else source.rglob("*.py"))}
    assert house / "step" / "fused" / "losses.py" in files
    assert sorted(files - counted) == []


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("llvmlite.binding.get_host_cpu_name", lambda: "another"),
        ("llvmlite.binding.get_host_cpu_features", lambda: llvmlite.binding.FeatureMap({"avx": False})),
        ("numba.__version__", "0.0"),
        ("numpy.__version__", "0.0"),
        ("llvmlite.__version__", "0.0"),
        ("numba.core.config.OPT", 1),
        ("platform.python_version", lambda: "3.0"),
    ],
)
def test_another_processor_or_compiler_is_another_folder(
    monkeypatch: pytest.MonkeyPatch, where: str, what: Any
) -> None:
    before = folder_name(cache.SOURCES)
    monkeypatch.setattr(where, what)
    assert folder_name(cache.SOURCES) != before


@pytest.mark.parametrize(
    ("environment", "root"),
    [
        ({"MBGD_CACHE_DIR": "/a", "XDG_CACHE_HOME": "/b"}, Path("/a")),
        ({"MBGD_CACHE_DIR": "", "XDG_CACHE_HOME": "/b"}, Path("/b/mbgd")),
        ({"XDG_CACHE_HOME": "b"}, Path.home() / ".cache" / "mbgd"),
        ({}, Path.home() / ".cache" / "mbgd"),
    ],
)
def test_the_root_is_ours_then_the_common_one_then_below_home(environment: dict[str, str], root: Path) -> None:
    assert cache_root(environment) == root.absolute()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    return tmp_path


def test_a_root_that_cannot_be_written_is_replaced_by_temporary_files(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary / "file").write_text("")
    monkeypatch.setenv("MBGD_CACHE_DIR", str(temporary / "file"))
    folder, why, is_refused = open_folder(NAMES[0])
    assert folder == temporary / f"mbgd-{os.getuid()}" / "kernels" / NAMES[0]
    assert "file/kernels" in why
    assert "MBGD_CACHE_DIR" in why
    assert not is_refused
    assert open_folder(NAMES[0]).folder == folder  # the next process finds it again
    assert use() == (3.0, 3.0, 0, 2)


def test_without_a_home_there_are_temporary_files(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MBGD_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    folder, why, is_refused = open_folder(NAMES[0])
    assert folder.is_relative_to(temporary)
    assert "no home folder" in why
    assert not is_refused


@pytest.mark.parametrize("trap", ["link", "open"])
def test_a_temporary_folder_that_others_may_write_is_not_trusted(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    theirs = temporary / f"mbgd-{os.getuid()}"
    if trap == "link":
        (temporary / "elsewhere").mkdir()
        theirs.symlink_to(temporary / "elsewhere")
    else:
        theirs.mkdir()
        theirs.chmod(0o777)
    monkeypatch.setattr(cache_folder, "cache_root", lambda _: None)
    at_the_end: list[Callable[[], None]] = []
    monkeypatch.setattr("atexit.register", lambda what, *words, **how: at_the_end.append(partial(what, *words, **how)))
    folder = open_folder(NAMES[0]).folder
    assert not folder.is_relative_to(theirs)
    assert folder.is_relative_to(temporary)
    assert not list(theirs.iterdir())
    (folder / "a.kernel").write_bytes(b"")
    for undo in at_the_end:
        undo()
    assert not folder.exists()  # no other process finds it: kept, each would leave megabytes


def test_code_is_read_from_a_folder_of_the_owner_alone() -> None:
    assert place().folder.stat().st_mode & 0o077 == 0


def test_folders_long_unused_are_swept_and_nothing_else(tmp_path: Path) -> None:
    root = tmp_path / "kernels"
    days = {0: 31, 1: 2, 2: 3, 3: 4, 4: 5, 5: 6, 6: 7, 7: 0.5, 8: 0}
    for i, unused in days.items():
        (root / NAMES[i]).mkdir(parents=True)
        (root / NAMES[i] / "code.kernel").write_text("")
        os.utime(root / NAMES[i], (time.time() - unused * DAY,) * 2)
    (root / "notes").mkdir()
    os.utime(root / "notes", (0, 0))
    sweep(root / NAMES[8])
    left = {path.name for path in root.iterdir()}
    # ours, the four latest of the others (unused for 0.5, 2, 3 and 4 days), and what is no folder of kernels
    assert left == {NAMES[8], NAMES[7], NAMES[1], NAMES[2], NAMES[3], "notes"}


def test_a_folder_in_use_is_not_swept_however_many_there_are(tmp_path: Path) -> None:
    root = tmp_path / "kernels"
    for name in NAMES:
        (root / name).mkdir(parents=True)
    sweep(root / NAMES[0])
    assert len(list(root.iterdir())) == len(NAMES)
