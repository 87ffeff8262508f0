"""Whoever wants to know that a kernel has to be compiled says so here; the cache tells them, each time it finds none on disk.

Apart from the cache itself, since a door that shows progress must not load a compiler to hear of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str], None]
_listeners: list[Listener] = []


@contextmanager
def told_of_compiling(listener: Listener) -> Iterator[None]:
    """Inside, `listener` is called before each compilation with the number type that it is for, "" where it is for none:
    in the thread that compiles, which waits for it."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def tell_of_compiling(number: str) -> None:
    for listener in tuple(_listeners):
        listener(number)
