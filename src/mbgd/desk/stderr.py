"""A line in, for whoever reads along, on stderr out."""

from __future__ import annotations

import contextlib
import sys

from mbgd.errors import plain


def say(line: str) -> None:
    """A line for whoever reads along, on stderr; that nobody does, or that a full disk refuses it, ends no training."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(plain(line) + "\n")
        sys.stderr.flush()
