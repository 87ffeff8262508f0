"""Imports in, the same imports out with the garbage collector held: what they make stays, and to look through it takes time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No collection inside. One that an import sets off looks at all that torch has made, a tenth of a second each time, and
    finds nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
