"""The interpreter ends after our threads, by its own exit code, also where one is inside of torch or waits for ever."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from textwrap import dedent

import pytest

from mbgd import threads

AT_SORTING = """
    import sys, threading, time
    import torch
    from mbgd import threads

    over, rows = threading.Event(), torch.rand(300_000)
    def sort():
        while not over.is_set():
            rows.sort()
"""
SLOW = pytest.mark.slow  # each loads torch anew
ENDS = {
    "by its end": "",
    "by an error": "raise SystemExit(7)",
    "by exit": "sys.exit(7)",
}


def ended(*lines: str) -> tuple[int, str]:
    """The exit code and the words on stderr of a program."""
    program = "\n".join(map(dedent, lines))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stderr


ONE_IN_QUICK = [pytest.param(end, id=name, marks=() if name == "by exit" else SLOW) for name, end in ENDS.items()]


@pytest.mark.parametrize("end", ONE_IN_QUICK)
def test_a_thread_in_torch_is_waited_for(end: str) -> None:
    begun = "threads.begin(sort, name='t', enough=over.set)\ntime.sleep(0.1)\nassert threads.is_any_at_work()"
    assert ended(AT_SORTING, begun, end) == (7 if end else 0, "")


@SLOW
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="later Pythons let such a thread hang instead of ending it")
def test_what_it_is_for() -> None:
    """Python's own daemon aborts the process where it is ended inside of torch; should this fail, `threads` can go."""
    code, said = ended(AT_SORTING, "threading.Thread(target=sort, daemon=True).start()\ntime.sleep(0.1)")
    assert code == -signal.SIGABRT
    assert "terminate called" in said


@pytest.mark.parametrize("depth", [3, pytest.param(1, marks=SLOW), pytest.param(50, marks=SLOW)])
def test_batches_that_nobody_takes_to_their_end(depth: int) -> None:
    """The thread that makes them ahead waits for room, or reads, when the program ends."""
    lines = """
        import mbgd, torch
        going = iter(mbgd.batches(torch.rand(200_000, 50), batch_size=10_000, prefetch={depth}))
        next(going)
    """
    assert ended(lines.replace("{depth}", str(depth))) == (0, "")


def test_the_command_waits_for_nobody_and_keeps_its_exit_code() -> None:
    """After a second signal a checkpoint that nobody wants may still be under way, on a disk that does not answer."""
    never = "threads.begin(threading.Event().wait, name='t', enough=lambda: None)"
    assert ended(AT_SORTING, never, "from mbgd.cli import main\nmain(['train'])") == (
        2,
        "mbgd: error: Missing argument 'DATA...'; see mbgd train --help\n",
    )


@SLOW
def test_a_child_of_a_fork_waits_for_no_thread_of_its_parent() -> None:
    lines = """
        pid = os.fork()
        if pid:
            _, status = os.waitpid(pid, 0)
            assert os.waitstatus_to_exitcode(status) == 5
        else:
            assert not threads.is_any_at_work()
            sys.exit(5)
    """
    begun = "import os\nthreads.begin(sort, name='t', enough=over.set)"
    assert ended(AT_SORTING, begun, lines) == (0, "")


def test_of_those_that_ended_nothing_is_kept() -> None:
    for _ in range(3):
        threads.begin(lambda: None, name="short", enough=lambda: None).join()
    going = threading.Event()
    last = threads.begin(going.wait, name="last", enough=going.set)
    assert [thread.name for thread in threads._begun if thread.name in {"short", "last"}] == ["last"]
    assert threads.is_any_at_work()
    going.set()
    last.join()
    assert "last" not in [thread.name for thread in threading.enumerate()]
