"""The interpreter ends after Arrow has let go of the files that it reads through Python, whoever still holds a reader."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

ON_ONE_CORE = """
    import atexit, os, sys
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # threads that let go later than they could
    held = []
    atexit.register(lambda: held and os._exit(7))  # the first that is registered is the last that is called
    from mbgd.data import lent
    atexit.unregister(lent._wait)
    atexit.register(lambda: held.extend(lent._lent))
    if WAITS:
        atexit.register(lent._wait)
    from mbgd.data.table import open_table, read_batches
"""
USES = {
    "read": "open_table('t.csv')",
    "first block": "batches = read_batches('t.csv'); next(batches); del batches",
    "an error": "table = open_table('t.csv', numeric=['a', 'b'])",
}


def ended(waits: bool, *lines: str) -> subprocess.CompletedProcess[str]:
    program = "\n".join([f"WAITS = {waits}", *map(dedent, lines)])
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(autouse=True)
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("a,b\n" + "0.5,u\n" * 300)


@pytest.mark.parametrize("use", USES)
def test_at_the_end_arrow_holds_nothing(use: str) -> None:
    for _ in range(3):
        done = ended(True, ON_ONE_CORE, USES[use])
        assert done.returncode == (1 if use == "an error" else 0)
        assert ("DataError" in done.stderr) is (use == "an error")


def test_without_waiting_it_would() -> None:
    """What the waiting is for; should this fail with a later Arrow, it can go. Most tries of a few do, but chance is in it."""
    alone = "from mbgd.data.csv_file import read_csv; from mbgd.data.files import find_files"
    read = "read_csv(find_files('t.csv')[0], types={})"  # a table whose text is read, too, takes longer than letting go
    assert any(ended(False, ON_ONE_CORE, alone, read).returncode == 7 for _ in range(60))


def test_a_reader_that_somebody_holds_is_not_waited_for_for_ever() -> None:
    kept = "batches = read_batches('t.csv', rows=10); next(batches); lent.SECONDS = 0.1"
    assert ended(True, ON_ONE_CORE, kept).returncode == 7
