"""Compute with one torch thread in a child of a fork, where OpenMP's threads, left in the parent, would be waited for without end.

A server loads its model, maybe predicts, and forks its workers. In a child OpenMP still counts on the threads that the parent
had, and the first loop that is shared out among them never ends. One thread shares nothing out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_child = False


def _in_child() -> None:
    global _child  # noqa: PLW0603  # what a fork has done to this process
    _child = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def torch_threads(wanted: int) -> int:
    """So many, but one in a child of a fork."""
    return 1 if _child else wanted


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside, so that no thread of OpenMP begins here; afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_child() -> bool:
    """Whether this process is a child of a fork."""
    return _child


@contextmanager
def after_fork() -> Iterator[None]:
    """`one_thread` in a child of a fork, nothing elsewhere."""
    if not _child:
        yield
        return
    with one_thread():
        yield
