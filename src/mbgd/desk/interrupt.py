"""Ctrl-C turned into a question that training asks between two chunks; a second one is obeyed at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_under_way: threading.Event | None = None  # of the training on the main thread: set when it should stop


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether to stop: after SIGINT, or `stop`; an interrupt is raised at the end, whoever asked.

    Elsewhere than on the main thread Python allows no handler: there the answer stays False. A process that ignores
    SIGINT goes on ignoring it.
    """
    global _under_way  # noqa: PLW0603  # a signal handler has no other way to reach what is under way
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked, outer, before = threading.Event(), _under_way, signal.getsignal(signal.SIGINT)
    heeded = before not in (signal.SIG_IGN, None)
    if heeded:
        signal.signal(signal.SIGINT, lambda number, frame: _ask(asked))
    _under_way = asked
    try:
        yield asked.is_set
    finally:
        _under_way = outer
        if heeded:
            signal.signal(signal.SIGINT, before)
    if asked.is_set():  # also one that came too late to be asked for: Ctrl-C is not ours to swallow
        raise KeyboardInterrupt


def stop() -> None:
    """What Ctrl-C does, for a handler of another signal: training stops at its next step boundary, anything else at once."""
    _ask(_under_way)


def _ask(asked: threading.Event | None) -> None:
    if asked is None or asked.is_set():
        raise KeyboardInterrupt
    asked.set()
