"""Announce that a kernel has to be compiled: to whoever asked to hear of it, else by a line on stderr.

Apart from the cache itself, since a door that shows progress must not load a compiler to hear of it. The seconds that go by
meanwhile are counted, so that a training can leave them out of its own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

Listener = Callable[[str], None]
_listeners: list[Listener] = []


class Compiling:
    """Says that kernels are compiled, once for each number type; of those for none only where nothing was said yet."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said: set[str] = set()

    def __call__(self, number: str) -> None:
        if number not in self._said and (number or not self._said):
            self._said.add(number)
            self._say(f"compiling kernels{f' for {number}' if number else ''}, once on this machine ...")


def _to_stderr(what: str) -> None:
    with suppress(OSError, ValueError, AttributeError):  # closed, full, or none at all
        sys.stderr.write(f"mbgd: {what}\n")
        sys.stderr.flush()


_unheard = Compiling(_to_stderr)


_seconds = [0.0]  # of all threads; a compiler works in one of them at a time


@dataclass(frozen=True)
class Begun:
    """A compilation that has begun: when, and how many seconds had been counted by then."""

    at: float
    seconds: float


def seconds_compiling() -> float:
    """How long this process has compiled so far."""
    return _seconds[0]


@contextmanager
def told_of_compiling(listener: Listener) -> Iterator[None]:
    """Inside, `listener` is called before each compilation with the number type that it is for, "" where it is for none:
    in the thread that compiles, which waits for it."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def tell_of_compiling(number: str) -> Begun:
    """A compilation begins; it is counted once `tell_of_compiled` has heard that it is done."""
    for listener in tuple(_listeners) or (_unheard,):
        listener(number)
    return Begun(time.perf_counter(), _seconds[0])


def tell_of_compiled(begun: Begun) -> None:
    """It is done; what was compiled within it has been counted already."""
    _seconds[0] = max(_seconds[0], begun.seconds + time.perf_counter() - begun.at)


def tell_of_folder(why_temporary: str) -> None:
    """Say that the user's cache of kernels is not used, since others could have put code there."""
    _to_stderr(f"note: compiled kernels are kept in temporary files, since {why_temporary}")
