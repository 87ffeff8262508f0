"""A terminal of no width, a working folder that was removed, little address space: each is no fault of ours."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from command import LABEL, PROGRAM, Command
from mbgd.cli.surroundings import believe_width

MEMORY = "take fewer rows or columns, a smaller model, or a machine with more\n"


@pytest.mark.parametrize("width", ["0", "1", "-5", "wide", "100000000", "9" * 5_000])
def test_a_width_that_no_terminal_has_is_not_believed(
    mbgd: Command, tables: Path, monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    words = ("inspect", tables / "t.csv", *LABEL)
    usual = mbgd("train", "--help"), mbgd(*words)
    monkeypatch.setenv("COLUMNS", width)
    assert (mbgd("train", "--help"), mbgd(*words)) == usual


def test_a_width_that_a_terminal_may_have_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for width in ("20", "80", "10000"):
        monkeypatch.setenv("COLUMNS", width)
        believe_width()
        assert os.environ["COLUMNS"] == width


def test_whether_a_path_may_be_read_is_asked_of_the_system_alone_when_it_is_read(
    monkeypatch: pytest.MonkeyPatch, mbgd: Command, runs: Path
) -> None:
    """Typer would ask before, and call what may not be read a wrong word, with exit code 2 in place of 5."""
    monkeypatch.setattr(os, "access", lambda *asked, **how: False)
    for words in (("info", runs / "number"), ("resume", runs / "number"), ("export", runs / "number", runs)):
        assert "is not readable" not in mbgd(*words).err
    held = ("train", "t.csv", "--target", "y", "--out", runs, "--init", runs, "--plan", runs)
    assert "is not readable" not in mbgd(*held).err
    for command in ("predict", "explain"):
        assert "is not readable" not in mbgd(command, runs / "number", "t.csv", "--out", runs).err


@pytest.mark.parametrize("words", [("info",), ("train", "/t.csv", "--target", "y", "--out", "/r")])
def test_a_working_folder_that_was_removed(words: tuple[str, ...], tmp_path: Path) -> None:
    """Without this the libraries of torch end the process."""
    gone = tmp_path / "gone"
    program = [sys.executable, "-c", "import os, sys; os.rmdir(os.getcwd()); exec(sys.argv.pop(1))", PROGRAM[2], *words]
    gone.mkdir()
    done = subprocess.run(program, cwd=gone, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == (
        "mbgd: error: the working folder must exist, the system gives none (No such file or directory); "
        "cd to a folder that is there\n"
    )


@pytest.mark.parametrize(
    "mebibytes",
    [pytest.param(m, marks=() if m == 200 else pytest.mark.slow) for m in (100, 200, 400, 700, 900, 1_100, 1_300)],
)
def test_little_address_space(tables: Path, tmp_path: Path, mebibytes: int) -> None:
    """Libraries that cannot be loaded or start no threads are told as memory that ran out; some end the process themselves."""
    limit = mebibytes << 20
    words = [*PROGRAM, "train", str(tables / "t.csv"), *LABEL, "--epochs", "2", "--quiet", "--out", "r"]
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    if done.returncode == 0 or "OpenBLAS" in done.stderr or "std::bad_alloc" in done.stderr:
        return
    assert done.returncode == 5, done.stderr
    assert done.stderr.startswith("mbgd: error: memory ran out"), done.stderr
    assert done.stderr.endswith(
        f"; this process may have {mebibytes / 1024:.1f} GiB of address space: raise 'ulimit -v', or {MEMORY}"
    )
    assert os.listdir(tmp_path) == []
