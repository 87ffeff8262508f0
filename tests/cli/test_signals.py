"""Stopped or killed anywhere, a run goes on to the bytes of a run that never stopped; one process at a time works on it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from command import LABEL, NUMBER, Command, Said, ended, start
from mbgd.cli import run
from mbgd.record.checkpoint import newest

INTERRUPTED = Path(__file__).parent / "interrupted.py"
WATCHED = Path(__file__).parent / "imports_watched.py"
HOW = ("--epochs", "12", "--dropout", "0.2", "--quiet")  # 9 steps an epoch, a look at each epoch's end


def stopped_at(look: int, number: int, *words: object, cwd: Path) -> Said:
    """The command, which signals itself at that look."""
    given = [sys.executable, str(INTERRUPTED), str(int(number)), str(look), *map(str, words)]
    done = subprocess.run(given, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def whole(tables: Path) -> bytes:
    """The model file of a run that never stopped, made in another process than those that stop."""
    assert run(["train", str(tables / "t.csv"), *NUMBER, *HOW, "--out", str(tables / "whole")]) == 0
    return (tables / "whole" / "model.safetensors").read_bytes()


SIGNALS = [
    pytest.param(signal.SIGINT, 130, id="INT"),
    pytest.param(signal.SIGTERM, 143, id="TERM", marks=pytest.mark.slow),  # below it comes from outside
]


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_is_saved_and_resumed_to_the_same_bytes(
    mbgd: Command, tables: Path, whole: bytes, number: int, code: int
) -> None:
    said = stopped_at(5, number, "train", tables / "t.csv", *NUMBER, *HOW, "--out", "r", cwd=Path.cwd())
    assert (said.code, said.out) == (code, "")
    assert said.err == "mbgd: stopped: saved in r; 'mbgd resume r' goes on with it\n"
    found = newest(Path("r"))
    assert found is not None
    assert found.checkpoint.step == 45
    unfinished = mbgd("predict", "r", tables / "t.csv")
    assert unfinished.code == 4
    assert unfinished.err == (
        "mbgd: error: r must hold model.safetensors, got none; the run has not ended: 'mbgd resume r' ends it\n"
    )
    assert json.loads(mbgd("info", "r", "--json").out)["ending"] == "not ended; 'mbgd resume' goes on"
    assert mbgd("resume", "r", "--quiet").code == 0
    assert Path("r/model.safetensors").read_bytes() == whole
    again = mbgd("resume", "r", "--json")
    assert again.err == "r has ended already; train --init r starts a new run from its weights\n"
    assert json.loads(again.out)["steps"] == 108
    shown = mbgd("resume", "r").out.splitlines()
    assert shown[0] == "all planned epochs are done: 108 steps"
    assert [line.split()[:2] for line in shown[1:]] == [
        ["validation", "r2"],
        ["test", "r2"],
        ["linear", "r2"],
        ["mean", "r2"],
    ]
    Path("r/model.safetensors").unlink()
    lost = mbgd("predict", "r", tables / "t.csv")
    assert lost.code == 4
    assert lost.err.endswith("got none; the run has ended: restore it from a copy, or train again\n")


@pytest.mark.parametrize(
    ("look", "every"),
    [
        pytest.param(1, (), marks=pytest.mark.slow),
        (7, ("--checkpoint-every", "13")),
        pytest.param(12, ("--checkpoint-every", "1"), marks=pytest.mark.slow),
    ],
)
def test_kill_9_and_resume_give_the_same_bytes(
    mbgd: Command, tables: Path, whole: bytes, look: int, every: tuple[str, ...]
) -> None:
    """Without a checkpoint the run begins anew; the knob itself stands in the model file, so weights are compared there."""
    how = (*NUMBER, *HOW, *every)
    said = stopped_at(look, signal.SIGKILL, "train", tables / "t.csv", *how, "--out", "r", cwd=Path.cwd())
    assert (said.code, said.err) == (-signal.SIGKILL, "")
    assert mbgd("resume", "r", "--quiet").code == 0
    if every:
        assert mbgd("train", tables / "t.csv", *how, "--out", "s").code == 0
        whole = Path("s/model.safetensors").read_bytes()
    assert Path("r/model.safetensors").read_bytes() == whole
    assert not list(Path("r").rglob(".tmp-*"))


@pytest.mark.slow
@pytest.mark.parametrize("look", [3, 40])
def test_a_run_with_refit_is_resumed_from_either_training(mbgd: Command, tables: Path, look: int) -> None:
    """The first training has a look after every 4 steps and after every 9, of 108: 27 + 12 - 3; the others are the second's."""
    how = (*LABEL, *HOW, "--refit", "--checkpoint-every", "4")
    assert mbgd("train", tables / "t.csv", *how, "--out", "s").code == 0
    for number in (signal.SIGINT, signal.SIGKILL):
        name = f"r{int(number)}"
        said = stopped_at(look, number, "train", tables / "t.csv", *how, "--out", name, cwd=Path.cwd())
        assert said.code in (130, -9)
        assert Path(name, "refit").exists() == (look > 36)
        assert mbgd("resume", name, "--quiet").code == 0
        assert Path(name, "model.safetensors").read_bytes() == Path("s/model.safetensors").read_bytes()


@pytest.mark.slow
def test_stopped_again_and_again_and_from_another_folder(mbgd: Command, tables: Path, whole: bytes) -> None:
    """Data named by a relative path is found from anywhere; the third signal comes after the second resume."""
    words = ("train", os.path.relpath(tables / "t.csv"), *NUMBER, *HOW, "--out", "r")
    assert stopped_at(2, signal.SIGINT, *words, cwd=Path.cwd()).code == 130
    elsewhere = Path.cwd() / "elsewhere"
    elsewhere.mkdir()
    for look in (3, 4):
        assert stopped_at(look, signal.SIGTERM, "resume", "../r", "--quiet", cwd=elsewhere).code == 143
    assert mbgd("resume", "r", "--quiet").code == 0
    assert Path("r/model.safetensors").read_bytes() == whole


def test_a_second_run_in_a_folder_in_use_is_refused_and_a_signal_from_outside_is_heard(
    mbgd: Command, tables: Path
) -> None:
    """A process in the background ignores SIGINT, as a shell's `&` makes it, under nohup SIGHUP as well, but not SIGTERM."""
    ignored = (signal.SIGINT, signal.SIGHUP)
    process = start("train", tables / "t.csv", *NUMBER, "--epochs", "1e9", "--out", "r", cwd=Path.cwd(),
                    preexec_fn=lambda: [signal.signal(number, signal.SIG_IGN) for number in ignored])  # fmt: skip
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("epoch ")  # training has begun
        in_use = f"mbgd: error: run folder must have one writer, r is in use by process {process.pid}; wait for it or end it\n"
        for words in (("resume", "r"), ("train", tables / "t.csv", *NUMBER, "--out", "r", "--force")):
            said = mbgd(*words)
            assert (said.code, said.err) == (5, in_use)
        said = mbgd("train", tables / "t.csv", *NUMBER, "--out", "r")
        assert said.code == 2
        assert (
            said.err == "mbgd: error: out must be a new folder, got r, which exists; 'mbgd resume r' goes on with it\n"
        )
        for number in (*ignored, signal.SIGTERM):
            process.send_signal(number)
        said = ended(process)
    finally:
        process.kill()
    assert said.code == 143
    lines = [line for line in said.err.splitlines() if not line.startswith("epoch ")]
    assert lines == ["mbgd: stopped: saved in r; 'mbgd resume r' goes on with it"]
    assert newest(Path("r")) is not None


@pytest.mark.parametrize(
    "how",
    [
        ("--checkpoint-every", "3"),
        pytest.param(
            ("--engine", "autograd", "--checkpoint-every", "3", "--log", "tensorboard"), marks=pytest.mark.slow
        ),
        pytest.param(("--folds", "2", "--threads", "2", "--checkpoint-every", "3"), marks=pytest.mark.slow),
    ],
    ids=lambda how: how[0],
)
def test_no_thread_beside_the_training_imports_anything(tables: Path, tmp_path: Path, how: tuple[str, ...]) -> None:
    """It would wait for the lock of a module that the main thread is importing, and the save with it."""
    given = [sys.executable, str(WATCHED), "train", str(tables / "t.csv"), *NUMBER, "--epochs", "2", *how, "--quiet"]
    done = subprocess.run(
        [*given, "--out", "r"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert newest(tmp_path / "r") is not None or (tmp_path / "r" / "models").exists()


def test_a_closed_pipe_is_no_failure(tables: Path, runs: Path) -> None:
    """`mbgd predict ... | head -1`: the reader takes a line and goes."""
    process = start("predict", runs / "number", *[tables / "t.csv"] * 200, cwd=tables)
    assert process.stdout is not None
    assert process.stdout.readline() == '"prediction"\n'
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 0
    process.stderr.close()
