"""Work in, a thread that does it out, whose end the interpreter waits for: ended by it inside of torch, it aborts the process."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from threading import Thread

_begun: dict[Thread, Callable[[], None]] = {}


def begin(work: Callable[[], object], *, name: str, enough: Callable[[], None]) -> Thread:
    """A thread that does the work beside the caller; `enough` asks it to end early, once the interpreter ends.

    A daemon that still runs then is ended by Python where it next asks for the interpreter's lock. In a frame of C++ this
    unwinds a stack that may not be unwound, and the process dies by SIGABRT, whatever its exit code would have been.
    """
    for ended in [thread for thread in list(_begun) if not thread.is_alive()]:
        _begun.pop(ended, None)  # another thread may have been quicker
    thread = Thread(target=work, name=name, daemon=True)  # no other kind is still there when `enough` can be said
    thread.start()
    _begun[thread] = enough
    return thread


def is_any_at_work() -> bool:
    """Whether some thread has not come to its end."""
    return any(thread.is_alive() for thread in list(_begun))


@atexit.register
def _end() -> None:
    left = [(thread, enough) for thread, enough in _begun.items() if thread.is_alive()]  # in a fork's child none is
    for _, enough in left:
        enough()
    for thread, _ in left:
        thread.join()
