"""Law: no input, however wrong, makes a kernel read outside an array.

A few cases run with the kernels as users have them; the slower tier has them compiled with bounds checks, and every array that
they are lent between pages that nothing may touch, so that one number read outside ends the process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from wrong_rows import CASES, run

PROGRAM = Path(__file__).parent / "wrong_rows.py"
QUICK, SLOW = 40, 1000


def checked(*words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MBGD_CHECK_BOUNDS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-X", "faulthandler", str(PROGRAM), *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("seed", range(QUICK))
@pytest.mark.filterwarnings("ignore")
def test_it_trains_or_says_why_not(seed: int) -> None:
    assert run(seed)


@pytest.mark.slow
def test_no_kernel_reads_outside_an_array() -> None:
    ended = checked(0, SLOW)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    assert f"{SLOW} of {SLOW} within bounds" in ended.stdout


@pytest.mark.slow
def test_without_the_door_it_is_seen() -> None:
    """The same cases, but for the check of each chunk: a process that reads outside ends there, or a check in a kernel tells."""
    ended = checked(0, 5 * len(CASES), "without-bounds-check")
    told = "IndexError" in ended.stdout or "reads outside" in ended.stdout
    assert ended.returncode == -signal.SIGSEGV or (ended.returncode == 1 and told), ended.stdout[-2000:]
