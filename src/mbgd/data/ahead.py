"""When it comes: an iterator in, the same items in the same order out, made ahead by a thread and moved to the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from queue import Full, Queue
from threading import Event, Thread
from typing import Any, TypeVar

T = TypeVar("T")
_POLL_SECONDS = 0.1  # how long a blocked producer takes to see that nobody listens any more


def ahead(items: Iterator[T], *, depth: int, move: Callable[[T], T] | None = None) -> Iterator[T]:
    """The same items, up to `depth` of them made in advance; `depth=0` makes each when it is asked for, on this thread.

    An error of the producer surfaces here, in its place. Closing this generator ends the thread. The thread holds no
    state that counts: a position is committed by whoever trains on an item, never by fetching it.
    """
    if depth == 0:
        for item in items:
            yield item if move is None else move(item)
        return
    queue: Queue[tuple[bool, Any]] = Queue(maxsize=depth)
    closed = Event()
    thread = Thread(target=_produce, args=(items, queue, closed, move), name="mbgd-ahead", daemon=True)
    thread.start()
    try:
        while True:
            good, item = queue.get()
            if not good:
                if item is None:
                    return
                raise item
            yield item
    finally:
        closed.set()
        thread.join()


def _produce(items: Iterator[T], queue: Queue[tuple[bool, Any]], closed: Event, move: Callable[[T], T] | None) -> None:
    last: tuple[bool, Any] = (False, None)
    try:
        for item in items:
            if not _put(queue, (True, item if move is None else move(item)), closed):
                return
    except BaseException as error:  # handed over whole: it is raised again where the items are used
        last = (False, error)
    _put(queue, last, closed)


def _put(queue: Queue[tuple[bool, Any]], entry: tuple[bool, Any], closed: Event) -> bool:
    while not closed.is_set():
        try:
            queue.put(entry, timeout=_POLL_SECONDS)
            return True
        except Full:
            continue
    return False
