"""Signals at random moments of a command's life: each ends it by its code and one line, and what is left can be gone on with.

The moments are drawn over the time that the command takes from its start to its end, most of which it loads and reads; so
they fall into imports, compiled code, the reading of a table, the making of a run folder, training, saves and scores.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from command import NUMBER
from mbgd.cli import run
from mbgd.record.checkpoint import newest

HOW = (*NUMBER, "--epochs", "300", "--hidden-layer-sizes", "8", "--checkpoint-every", "300", "--quiet")
NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU)
MARKED = "import os; from mbgd import signals; signals.install(); os.write({}, b'.'); from mbgd.cli import main; main()"
NOTHING = (
    "mbgd: stopped: interrupted; nothing was written",
    "mbgd: stopped: interrupted before training began; nothing is left of it",
)
SAVED = "mbgd: stopped: saved in r; 'mbgd resume r' goes on with it"
ANEW = "mbgd: stopped: interrupted before the first checkpoint; 'mbgd resume r' begins it anew"
ENDED = "mbgd: stopped: interrupted when r had ended; 'mbgd resume r' shows its scores"
SECONDS = 60.0  # of a busy machine, by which a command must have ended; it takes a tenth of a second


@dataclass(frozen=True)
class Ended:
    """A command that was sent signals."""

    code: int
    err: str
    heeded: bool  # whether it had come to install its handlers
    seconds: float  # from the first signal to its end


def interrupted(data: Path, folder: Path, sent: list[tuple[float, signal.Signals]], *, begun: bool) -> Ended:
    """Train in a process of its own, which is sent each signal so many seconds after the one before, and the first so many
    after its start; or, of one that has `begun`, after it has written its plan."""
    reader, writer = os.pipe()
    command = [sys.executable, "-c", MARKED.format(writer), "train", str(data), *HOW, "--out", "r"]
    process = subprocess.Popen(
        command, cwd=folder, pass_fds=(writer,), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    try:
        while begun and process.poll() is None and not (folder / "r" / "plan.json").exists():
            time.sleep(0.005)
        time.sleep(sent[0][0])
        first = time.monotonic()
        for at, (wait, number) in enumerate(sent):
            time.sleep(wait if at else 0)
            process.send_signal(number)
        try:
            err = process.communicate(timeout=SECONDS)[1]
        except subprocess.TimeoutExpired:
            err = "mbgd: it was still going"
        return Ended(process.returncode or 0, err, os.read(reader, 1) == b".", time.monotonic() - first)
    finally:
        process.kill()
        os.close(reader)


def draw(seed: int, seconds: float) -> list[tuple[float, signal.Signals]]:
    """One signal at a moment of these seconds; of four draws one is of two signals, close together or not."""
    chance = random.Random(seed)
    sent = [(chance.uniform(0, seconds), chance.choice(NUMBERS))]
    if chance.random() < 0.25:
        sent.append((chance.choice([0.0, 0.01, 0.3, 1.0]) * chance.random(), chance.choice(NUMBERS)))
    return sent


def judged(folder: Path, sent: list[tuple[float, signal.Signals]], ended: Ended, *, whole: bytes) -> str:
    """Which of the endings that are allowed it was; fails where it was none."""
    run_folder = folder / "r"
    numbers = [number for _, number in sent]
    by_default = [-number for number in numbers]
    if ended.code in by_default or (not ended.heeded and "mbgd" not in ended.err):
        assert not ended.heeded, f"ended by {ended.code} with handlers installed: {ended.err}"
        assert os.listdir(folder) == []
        return "before the handlers"
    if ended.code == 0:
        assert (ended.err, (run_folder / "model.safetensors").read_bytes()) == ("", whole)
        return "ended before"
    assert ended.code in [128 + number for number in numbers], (ended.code, ended.err)
    assert ended.err.count("\n") == 1, ended.err
    said = ended.err.rstrip("\n")
    if len(sent) == 1:
        assert not list(folder.rglob(".tmp-*"))
    if said in NOTHING:
        assert os.listdir(folder) == []
        return "nothing left"
    if said == SAVED:
        assert newest(run_folder) is not None
    elif said == ANEW:
        assert (
            len(sent) == 2 or newest(run_folder) is None
        )  # a save that a second signal overtook may have come to its end
    else:
        assert said == ENDED
        assert (run_folder / "model.safetensors").read_bytes() == whole
        return "had ended"
    assert run(["resume", str(run_folder), "--quiet"]) == 0
    assert (run_folder / "model.safetensors").read_bytes() == whole
    return "saved" if said == SAVED else "begun anew"


@pytest.fixture(scope="module")
def whole(tables: Path) -> tuple[bytes, float]:
    """The model file of a run that nothing interrupted, and the seconds that the command took."""
    for name in ("first", "whole of the early"):  # the first may have to compile kernels
        folder, started = tables / name, time.monotonic()
        command = [sys.executable, "-m", "mbgd", "train", str(tables / "t.csv"), *HOW, "--out", str(folder)]
        subprocess.run(command, check=True, capture_output=True)
    return (folder / "model.safetensors").read_bytes(), time.monotonic() - started


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param([13, 19], id="2"),
        pytest.param(range(3, 63), id="60", marks=pytest.mark.slow),
        pytest.param(range(100, 1_100), id="1000", marks=pytest.mark.soak),
    ],
)
def test_a_signal_at_any_moment_ends_the_command_as_it_says(
    seeds: Sequence[int], tables: Path, tmp_path: Path, whole: tuple[bytes, float], capsys: pytest.CaptureFixture[str]
) -> None:
    model, seconds = whole
    found, slowest, wrong = Counter[str](), 0.0, []
    for seed in seeds:
        folder = tmp_path / str(seed)
        folder.mkdir()
        begun = seed % 4 == 3  # how long loading takes differs more than training is long
        sent = draw(seed, (0.2 if begun else 1.1) * seconds)
        ended = interrupted(tables / "t.csv", folder, sent, begun=begun)
        try:
            found[judged(folder, sent, ended, whole=model)] += 1
        except AssertionError as error:
            wrong.append((seed, sent, ended, str(error)))
        slowest = max(slowest, ended.seconds)
        shutil.rmtree(folder)
    with capsys.disabled():
        if len(seeds) > 3:
            print(f"\n{len(seeds)} commands of {seconds:.1f} s: {dict(found)}; the slowest ended {slowest:.1f} s after")
    assert not wrong
    assert found["before the handlers"] < max(3, len(seeds) / 4)
