"""An interrupted training's folder in, the sentence that says what is left of it out."""

from __future__ import annotations

from pathlib import Path


class Stopped(Exception):  # noqa: N818  it is no error: somebody asked for it
    """Training was interrupted; its text says what is left and how to go on."""


def stopped(folder: Path, *, begun: bool) -> Stopped:
    if begun:
        return Stopped(f"saved in {folder}; 'mbgd resume {folder}' goes on with it")
    return Stopped("interrupted before training began; nothing is left of it")
