"""Ctrl-C turned into a question that training asks between two chunks; a second one is obeyed at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether SIGINT has come; an interrupt that has is raised at the end, whoever asked.

    Elsewhere than on the main thread Python allows no handler, and a process that ignores SIGINT goes on ignoring it:
    there the answer stays False.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (signal.SIG_IGN, None):
        yield lambda: False
        return
    asked = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
    if asked.is_set():  # also one that came too late to be asked for: Ctrl-C is not ours to swallow
        raise KeyboardInterrupt
