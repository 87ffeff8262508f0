"""Ctrl-C turned into a question that training asks between two chunks; a second one is obeyed at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mbgd import signals


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether to stop; an interrupt is raised at the end, whoever asked.

    In the command after any signal that asks it to end, see `mbgd.signals`; in other programs after SIGINT. Elsewhere than on
    the main thread Python allows no handler: there the answer stays False. A process that ignores SIGINT goes on ignoring it.
    """
    if signals.are_installed():
        with signals.stop_requests() as is_asked:
            yield is_asked
        if signals.stop_was_requested():
            raise KeyboardInterrupt
        return
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked, before = threading.Event(), signal.getsignal(signal.SIGINT)
    handled = before not in (signal.SIG_IGN, None)
    if handled:
        signal.signal(signal.SIGINT, lambda number, frame: _ask(asked))
    try:
        yield asked.is_set
    finally:
        if handled:
            signal.signal(signal.SIGINT, before)
    if asked.is_set():  # also one that came too late to be asked for: Ctrl-C is not ours to swallow
        raise KeyboardInterrupt


def _ask(asked: threading.Event) -> None:
    if asked.is_set():
        raise KeyboardInterrupt
    asked.set()
