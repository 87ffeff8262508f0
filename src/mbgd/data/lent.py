"""A file of Python's in, the same to lend to Arrow out; the end of the interpreter waits until Arrow has let go of it.

It lets go in a thread of its own, some time after the last block, and needs the interpreter's lock for that. A thread that asks
for the lock once the interpreter ends is ended in a frame of C++, and the process aborts, whatever its exit code would have been.
"""

from __future__ import annotations

import atexit
import gc
import time
import weakref
from typing import Any

SECONDS = 2.0  # by then a reader is one that somebody still holds: it stands still


class _Lent:
    """A file as Arrow knows it; nobody else holds this."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


_lent: weakref.WeakSet[_Lent] = weakref.WeakSet()


def lent(file: Any) -> Any:
    """The file to hand to Arrow."""
    made = _Lent(file)
    _lent.add(made)
    return made


@atexit.register
def _wait() -> None:
    if not _lent:
        return
    gc.collect()  # an error's traceback may hold a reader in a circle
    end = time.monotonic() + SECONDS
    while _lent and time.monotonic() < end:
        time.sleep(0.001)  # without the lock, so that whoever waits for it gets it
