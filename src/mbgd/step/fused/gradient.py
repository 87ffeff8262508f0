"""A program in, its parameters copied to where kernels read them and write the gradient; the parameters stay untouched.

A copy, since to bind the parameters themselves would put torch's first-step state into an optimizer that has none yet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from mbgd.step.fused.arena import front_table, layer_table, limits_of, places_of, rows_of_a_block, view
from mbgd.step.fused.binding import memory_of
from mbgd.step.fused.layout import TENSOR_COLUMNS, Moves
from mbgd.step.fused.program import Program

# `clip` makes the kernels finish the whole gradient before anything may move, and then there is no tensor to be moved.
NOTHING_MOVES = Moves(
    tensors=np.zeros((0, TENSOR_COLUMNS), np.int64),
    settings=np.zeros(0),
    decays=np.zeros(0),
    counts=np.zeros(0),
    squares=np.zeros(1),
    clip=1.0,
    follow=0.0,
    bare=0,
)


class Still:
    """The tables and buffers of a program at the parameters of now; `trained` are those whose gradient is wanted."""

    def __init__(self, program: Program, trained: Sequence[Tensor]) -> None:
        places = places_of(program)
        self.block = rows_of_a_block(program)
        self.memory = memory_of(program, places, self.block)
        rows = {id(tensor): row for row, tensor in enumerate(trained)}
        self.layers = layer_table(program, places, rows)
        self.front, self.limits = front_table(program, places), limits_of(program)
        self._offsets = {id(t): at for t, at in zip(program.tensors(), places.offsets, strict=True)}
        for tensor, offset in zip(program.tensors(), places.offsets, strict=True):
            view(self.memory.theta, tensor, offset).copy_(tensor.detach())

    def gradient_of(self, tensor: Tensor) -> Tensor:
        """What the kernels have left for a parameter."""
        return view(self.memory.grad, tensor, self._offsets[id(tensor)])
