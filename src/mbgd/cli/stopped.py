"""How a training that was interrupted ends the command."""

from __future__ import annotations


class Stopped(Exception):  # noqa: N818  it is no error: somebody asked for it
    """Training was interrupted; its text says what is left and how to go on."""
