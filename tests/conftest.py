"""What all tests share: fixed seeds, one thread, and a budget of seconds a folder that fails the run when exceeded."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

# A folder of tests -> seconds of processor time that it may take, the processes it starts included: the clock on the wall
# would count what else the machine does. Tests of the slower tiers are not counted.
SECONDS = {
    ".": 30,
    "bench": 5,
    "estimators": 83,
    "cli": 187,
    "compiled": 33,
    "data": 74,
    "desk": 196,
    "faults": 76,
    "laws": 300,
    "loop": 5,
    "measure": 20,
    "model": 15,
    "record": 20,
    "step": 47,
    "tune": 5,
}
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # begun in the background by a shell, which ignores it there: what Ctrl-C does is under test all the same
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("fixed", derandomize=True, deadline=None, database=None, print_blob=True)
settings.load_profile("fixed")
_spent: defaultdict[str, float] = defaultdict(float)


@pytest.fixture(autouse=True)
def _fixed_chance() -> Iterator[None]:
    np.random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    start = _processor_seconds()
    try:
        return (yield)
    finally:
        if item.get_closest_marker("slow") is None and item.get_closest_marker("soak") is None:
            _spent[_folder(item.path)] += _processor_seconds() - start


def _processor_seconds() -> float:
    """Of this process and of those it started that have ended."""
    return sum(os.times()[:4])


def _folder(path: Path) -> str:
    parts = path.relative_to(Path(__file__).parent).parts
    return parts[0] if len(parts) > 1 else "."


def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get("MBGD_CHECK_BOUNDS") == "1":  # each kernel runs twice
        return
    over = {f: s for f, s in _spent.items() if s > SECONDS.get(f, 0)}
    for folder, seconds in over.items():
        print(f"\ntests/{folder} took {seconds:.0f} s, its budget is {SECONDS.get(folder, 0)} s: make them quicker")
    if over and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
