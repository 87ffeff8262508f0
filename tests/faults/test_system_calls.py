"""Row B: killed at each system call of one save, a run keeps its checkpoints and resumes to the same result."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from mbgd.desk.run import fitting, module_plan
from short_runs import W, X, Y, fit, fresh_chance, net, outcome, resume, whole_step, whole_steps, words

SAVER = Path(__file__).parent / "saver.py"
CALL = re.compile(r"^(?:\d+ +)?(\w+)\(")
pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace must be installed: it kills at a system call"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    fit(folder / "whole")
    fresh_chance()
    flow = fitting(net(), (X, Y, W), plan=module_plan(words(), None), out=folder / "stopped")
    while next(flow).progress.steps_done < 41:
        pass
    flow.close()
    return folder


def under_strace(run: Path, *options: str) -> int:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    command = ["strace", "-f", *options, sys.executable, str(SAVER), str(run)]
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode


def calls_of_a_save(run: Path, log: Path) -> list[tuple[str, int]]:
    """(system call, which one of its kind in the process) from the first mark to the second."""
    assert under_strace(run, "-o", str(log), "-e", "trace=all") == 0
    names = [match[1] for line in log.read_text().splitlines() if (match := CALL.match(line))]
    first, last = (place for place, name in enumerate(names) if name == "sched_yield")
    seen: Counter[str] = Counter()
    numbered = []
    for name in names:
        seen[name] += 1
        numbered.append((name, seen[name]))
    return numbered[first + 1 : last]


def test_killed_at_each_system_call_of_one_save(runs: Path, tmp_path: Path) -> None:
    calls = calls_of_a_save(shutil.copytree(runs / "stopped", tmp_path / "traced"), tmp_path / "log")
    assert {"fsync", "openat", "write", "mkdir", "fallocate"} <= {name for name, _ in calls}
    expected, killed = outcome(runs / "whole"), 0
    for name, number in calls:
        run = shutil.copytree(runs / "stopped", tmp_path / "run")
        code = under_strace(
            run, "-o", "/dev/null", "-e", f"trace={name}", "-e", f"inject={name}:signal=SIGKILL:when={number}"
        )
        killed += code in (-signal.SIGKILL, 128 + signal.SIGKILL)
        assert whole_step(run) == 40, (name, number)
        assert len(whole_steps(run)) >= 2, (name, number)
        resume(run)
        assert outcome(run) == expected, (name, number)
        shutil.rmtree(run)
    print(f"{len(calls)} system calls, {killed} kills")
    assert killed >= 0.9 * len(calls)  # which call it is may shift by one where imports differ
