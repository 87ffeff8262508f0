"""What the command does with a signal before it has loaded anything, in a child of a fork, and at the end of the interpreter."""

from __future__ import annotations

import signal
import subprocess
import sys
from textwrap import dedent

import pytest

HEED = """
    import os, signal, sys, time
    from mbgd import signals
    signals.install()
    def kill(number, *, of=None):
        os.kill(of or os.getpid(), number)
"""
NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU]
NOTHING = "mbgd: stopped: interrupted; nothing was written\n"


def ended(*lines: str) -> tuple[int, str, str]:
    """The exit code, and the words on stdout and stderr, of a program."""
    program = "\n".join(map(dedent, (HEED, *lines)))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("number", NUMBERS)
def test_it_ends_by_its_code_and_one_line_and_undoes_what_was_made(number: signal.Signals) -> None:
    lines = """
        with signals.undo_if_ended(lambda: print("undone", flush=True)):
            kill({})
        print("not reached")
    """
    assert ended(lines.format(int(number))) == (128 + number, "undone\n", NOTHING)


def test_what_cannot_be_undone_keeps_nothing_else_from_it() -> None:
    lines = """
        with signals.undo_if_ended(lambda: 1 / 0), signals.undo_if_ended(lambda: print("undone", flush=True)):
            kill(signal.SIGTERM)
    """
    assert ended(lines) == (143, "undone\n", NOTHING)


def test_further_signals_do_not_cut_the_end_short() -> None:
    lines = """
        def slowly():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
                kill(number)
                time.sleep(0.01)
            print("undone", flush=True)
        with signals.undo_if_ended(slowly):
            kill(signal.SIGHUP)
    """
    assert ended(lines) == (129, "undone\n", NOTHING)


def test_what_is_held_together_is_not_cut_in_two() -> None:
    lines = """
        with signals.deferred(), signals.deferred():
            kill(signal.SIGTERM)
            print("whole", flush=True)
        print("not reached")
    """
    assert ended(lines) == (143, "whole\n", NOTHING)


def test_training_is_asked_to_stop_and_a_second_signal_ends_it() -> None:
    lines = """
        with signals.stop_requests() as asked:
            print(asked())
            signals.SECONDS_APART = 3600.0  # a busy machine may take its time between two lines
            kill(signal.SIGTERM)
            kill(signal.SIGINT)
            print(asked(), flush=True)
            signals.SECONDS_APART = 0.0
            kill(signal.SIGXCPU)
            print("goes on", flush=True)
            kill(signal.SIGINT)
            print("not reached")
    """
    assert ended(lines) == (143, "False\nTrue\ngoes on\n", NOTHING)


def test_after_the_last_line_the_exit_code_stays_and_nothing_is_said() -> None:
    """At the end of the interpreter Python gives signals their default action again: here a destructor runs after that."""
    lines = """
        class Last:
            def __del__(self, kill=os.kill, pid=os.getpid()):
                kill(pid, 15), kill(pid, 1)
        last = Last()
        import atexit
        {}
        signals.ended(7)
        sys.exit(7)
    """
    assert ended(lines.format("")) == (7, "", "")
    assert ended(lines.format("atexit.register(kill, 15)")) == (7, "", "")


def test_a_child_of_a_fork_is_not_the_command() -> None:
    """It dies as it would have without us, and takes nothing of its parent's away."""
    lines = """
        with signals.undo_if_ended(lambda: print("undone", flush=True)):
            for number in (signal.SIGTERM, signal.SIGHUP):
                pid = os.fork()
                if not pid:
                    kill(number)
                    time.sleep(60)
                assert os.waitpid(pid, 0)[1] == number
            print(signals.are_installed(), flush=True)
    """
    assert ended(lines) == (0, "True\n", "")


def test_what_is_ignored_stays_ignored() -> None:
    lines = """
        import subprocess
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        own = "import os; from mbgd import signals; signals.install(); [os.kill(os.getpid(), n) for n in (2, 1, 15)]"
        sys.exit(subprocess.run([sys.executable, "-c", own]).returncode)
    """
    assert ended(lines) == (0, "", "")
