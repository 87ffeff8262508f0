"""Warn about the rows of a call, with the line of the user's code that made it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from types import FrameType

from mbgd.errors import DataWarning, plain

_OURS = ("mbgd", "contextlib")  # a context manager that decorates a method stands between two of our calls


def warn_of(sentences: Iterable[str]) -> None:
    """One warning with all that is to be said of the rows of a call, if anything is."""
    if said := "; ".join(sentences):
        warnings.warn(plain(said), DataWarning, stacklevel=_depth())


def _depth() -> int:
    """How many calls up the user's own code is, past `contextlib`, through which decorators of ours call."""
    frame: FrameType | None = sys._getframe(1)
    depth = 0
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
        frame, depth = frame.f_back, depth + 1
    return depth + 1
