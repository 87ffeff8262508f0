"""When it comes: an iterator in, the same items in the same order out, made ahead by a thread and moved to the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from queue import SimpleQueue
from threading import Event, Semaphore
from typing import Any, TypeVar

from mbgd import threads

T = TypeVar("T")


def ahead(items: Iterator[T], *, depth: int, move: Callable[[T], T] | None = None) -> Iterator[T]:
    """The same items, up to `depth` of them made in advance; `depth=0` makes each when it is asked for, on this thread.

    An error of the producer surfaces here, in its place. Closing this generator ends the thread. The thread holds no
    state that counts: a position is committed by whoever trains on an item, never by fetching it.
    """
    if depth == 0:
        for item in items:
            yield item if move is None else move(item)
        return
    made: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
    room, closed = Semaphore(depth), Event()

    def enough() -> None:
        closed.set()
        room.release()  # wakes a producer that waits for room

    thread = threads.begin(lambda: _produce(items, made, room, closed, move), name="mbgd-ahead", enough=enough)
    try:
        while True:
            good, item = made.get()
            if not good:
                if item is None:
                    return
                raise item
            room.release()
            yield item
    finally:
        enough()
        thread.join()


def _produce(
    items: Iterator[T],
    made: SimpleQueue[tuple[bool, Any]],
    room: Semaphore,
    closed: Event,
    move: Callable[[T], T] | None,
) -> None:
    try:
        while room.acquire() and not closed.is_set():
            item = next(items)
            made.put((True, item if move is None else move(item)))
    except StopIteration:
        made.put((False, None))
    except BaseException as error:  # handed over whole: it is raised again where the items are used
        made.put((False, error))
