"""Chunk memory: what somebody still holds is never written over, and what nobody holds is used again."""

from __future__ import annotations

import gc
import threading

import torch

from mbgd.data.memory import CACHE_LINE, KEPT, Memory

LIKE = torch.zeros(1, 3)


def filled(memory: Memory, value: float, rows: int = 100) -> torch.Tensor:
    return memory.empty(LIKE, rows=rows).fill_(value)


def test_a_view_keeps_its_memory_and_the_last_view_gives_it_back() -> None:
    memory = Memory()
    whole = filled(memory, 1.0)
    place, view = whole.data_ptr(), whole[40:].T
    del whole
    gc.collect()
    assert filled(memory, 2.0).data_ptr() != place
    assert torch.equal(view, torch.ones(3, 60))
    del view
    gc.collect()
    both = [filled(memory, 3.0), filled(memory, 4.0)]
    assert place in {tensor.data_ptr() for tensor in both}


def test_what_autograd_saved_is_held() -> None:
    memory = Memory()
    weight = torch.ones(3, requires_grad=True)
    loss = (filled(memory, 2.0) * weight).sum()  # the product keeps its input for the backward pass
    gc.collect()
    filled(memory, 9.0)
    loss.backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [200.0] * 3


def test_tensors_start_on_cache_lines_and_have_shape_and_dtype() -> None:
    memory = Memory()
    for dtype in (torch.float32, torch.float64, torch.int64, torch.bool, torch.bfloat16):
        made = memory.empty(torch.zeros(1, 5, 2, dtype=dtype), rows=7)
        assert (made.shape, made.dtype, made.data_ptr() % CACHE_LINE) == ((7, 5, 2), dtype, 0)


def test_no_more_than_a_few_blocks_wait() -> None:
    memory = Memory()
    held = [filled(memory, 0.0) for _ in range(3 * KEPT)]
    held.clear()
    gc.collect()
    assert len(memory._free) == KEPT


def test_threads_never_share_a_block() -> None:
    memory, wrong = Memory(), []

    def work(number: int) -> None:
        for _ in range(300):
            mine = filled(memory, float(number))
            if not bool((mine == number).all()):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
