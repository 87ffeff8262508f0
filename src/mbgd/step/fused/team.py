"""Threads that share every batch of a chunk: a kernel's arguments in, its updates by all of them out, always the same bits.

Each thread takes its rows and adds up a gradient of its own; these are added in the order of the threads, so that how they
happen to run changes nothing. The number of threads does, to rounding: it is a part of the plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from mbgd.compiled.kernel import as_compiled
from mbgd.step.fused.arena import buffer
from mbgd.step.fused.binding import Binding, scratch_of
from mbgd.step.fused.gate import ARRIVED, GIVE_UP, WORDS, address_of_idle
from mbgd.step.fused.layout import Batches, Calls, Data, Memory, Moves, Net, Team
from mbgd.step.fused.program import Program
from mbgd.step.fused.run import run_chunk

ALONE = Team(rank=0, size=1, gate=np.zeros(WORDS, np.int64), grads=np.zeros(0), idle=0)


def alone(dtype: np.dtype[Any]) -> Team:
    """A thread by itself."""
    return ALONE._replace(grads=np.zeros(0, dtype))


class Threads:
    """Some threads and what each needs for itself, until `stop`; the first is the caller's own."""

    def __init__(self, size: int, program: Program, binding: Binding) -> None:
        whole = len(binding.memory.theta)
        self._gate = np.zeros(WORDS, np.int64)
        grads = buffer(size * whole, binding.memory.theta.dtype)
        team = Team(rank=0, size=size, gate=self._gate, grads=grads, idle=address_of_idle())
        self._members: list[tuple[Memory, Team]] = []
        for rank in range(size):
            own = {} if rank == 0 else scratch_of(program, binding.block)
            grad = grads[rank * whole : (rank + 1) * whole]
            self._members.append((binding.memory._replace(grad=grad, **own), team._replace(rank=rank)))
        self._pool = ThreadPoolExecutor(size - 1, thread_name_prefix="mbgd")

    def run(self, calls: Calls, net: Net, data: Data, batches: Batches, moves: Moves) -> None:
        """`run_chunk` by all of them."""
        self._gate[:] = 0
        moves = moves._replace(squares=np.zeros(len(self._members)))

        def one(member: tuple[Memory, Team]) -> None:
            memory, team = member
            with self._told_of_failure():
                as_compiled(run_chunk)(calls, net, memory, data, batches, moves, team)

        others: list[Future[None]] = []
        try:
            with self._told_of_failure():
                others.extend(self._pool.submit(one, member) for member in self._members[1:])  # each may find no room
                one(self._members[0])
        finally:
            for other in others:
                other.result()
        assert self._gate[ARRIVED] % len(self._members) == 0

    @contextmanager
    def _told_of_failure(self) -> Iterator[None]:
        """Let all of the team give up where one fails, or the others would wait for it for ever."""
        try:
            yield
        except BaseException:
            self._gate[GIVE_UP] = 1
            raise

    def stop(self) -> None:
        self._pool.shutdown()
