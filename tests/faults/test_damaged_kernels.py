"""Row Q: a damaged file among the compiled kernels is never run: it is compiled anew and replaced."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "damaged_kernels.py"


@pytest.mark.slow
@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.soak)])
def test_a_training_that_finds_a_damaged_kernel_ends_as_with_whole_ones(tmp_path: Path, count: int) -> None:
    """In few, quickly compiled functions `tests/compiled/test_cache.py` has the same in the quick tier."""
    environment = {**os.environ, "MBGD_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-X", "faulthandler", str(PROGRAM), str(count), "0"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert f"{count} of {count} as with whole kernels" in done.stdout
