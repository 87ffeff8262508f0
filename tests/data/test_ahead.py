"""What is made ahead is the same items in the same order; errors surface in their place; closing ends the thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from mbgd.data.ahead import ahead

DEPTHS = [0, 1, 2, 7]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("mbgd")]


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_same_items_in_the_same_order_moved_once_each(depth: int) -> None:
    moved: list[int] = []

    def move(item: int) -> int:
        moved.append(item)
        return item * 10

    assert list(ahead(iter(range(50)), depth=depth, move=move)) == list(range(0, 500, 10))
    assert moved == list(range(50))
    assert list(ahead(iter(range(50)), depth=depth)) == list(range(50))
    assert list(ahead(iter(()), depth=depth)) == []
    assert threads() == []


@pytest.mark.parametrize("depth", DEPTHS)
def test_an_error_surfaces_in_its_place(depth: int) -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise OSError("row 5 is gone")

    got: list[int] = []
    with pytest.raises(OSError, match="row 5 is gone"):
        got.extend(ahead(items(), depth=depth))
    assert got == [0, 1, 2, 3, 4]
    assert threads() == []


@pytest.mark.parametrize("depth", DEPTHS)
def test_an_error_of_the_move_surfaces_too(depth: int) -> None:
    def move(item: int) -> int:
        if item == 3:
            raise MemoryError("full")
        return item

    with pytest.raises(MemoryError, match="full"):
        list(ahead(iter(range(9)), depth=depth, move=move))


@pytest.mark.parametrize("depth", [1, 3])
def test_closing_ends_the_thread_of_an_endless_source(depth: int) -> None:
    def endless() -> Iterator[int]:
        at = 0
        while True:
            yield at
            at += 1

    flow = ahead(endless(), depth=depth)
    assert [next(flow) for _ in range(3)] == [0, 1, 2]
    assert threads() == ["mbgd-ahead"]
    flow.close()  # type: ignore[attr-defined]  # a generator
    assert threads() == []


def test_without_depth_nothing_is_made_before_it_is_asked_for() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for item in range(5):
            made.append(item)
            yield item

    flow = ahead(items(), depth=0)
    assert made == []
    next(flow)
    next(flow)
    assert made == [0, 1]
    assert threads() == []


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_what_is_made_ahead_is_bounded(depth: int) -> None:
    """`depth` of them wait, and one may be in the maker's hand."""
    asked = 0
    most = 0

    def items() -> Iterator[int]:
        nonlocal most
        for made in range(60):
            most = max(most, made + 1 - asked)
            yield made

    for item in ahead(items(), depth=depth):
        assert item == asked
        asked += 1
    assert most <= depth + 2  # the one being handed over is counted once more until `asked` moves


def test_the_maker_works_while_the_taker_does() -> None:
    """The second item is made although nobody has asked for it: the maker signals it, and nobody waits for a clock."""
    second = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        second.set()
        yield 2

    flow = ahead(items(), depth=1)
    assert next(flow) == 1
    assert second.wait(timeout=30)
    assert list(flow) == [2]
