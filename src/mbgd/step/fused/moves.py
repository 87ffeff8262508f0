"""A gradient in the arena in, parameters moved by the formula of their optimizer: some rows, a tensor, or all that waited."""

from __future__ import annotations

import math
from typing import Any

from mbgd.compiled.kernel import at, call, part
from mbgd.step.fused.layout import LAYER, LENGTH, RULE, SETTINGS, START, Calls, Memory, Moves

Pointer = Any


@part
def move_tensor(memory: Memory, moves: Moves, t: int, factor: float, clip: float) -> None:
    """Update one tensor from its gradient."""
    if t >= 0 and moves.tensors[t, LENGTH]:
        start = moves.tensors[t, START]
        move(memory, moves, t, factor, clip, at(memory.grad, start), start, moves.tensors[t, LENGTH])


@part
def move(memory: Memory, moves: Moves, t: int, factor: float, clip: float, grad: Pointer, place: int, n: int) -> None:
    """Update n numbers from `place` on, which belong to tensor t, from their gradient."""
    move_rows(memory, moves, t, factor, clip, grad, at(memory.unit, 0), place, 1, n)


@part
def move_rows(
    memory: Memory,
    moves: Moves,
    t: int,
    factor: float,
    clip: float,
    grad: Pointer,
    pulls: Pointer,
    place: int,
    rows: int,
    n: int,
) -> None:
    """Update some rows of n numbers, the first from `place` on: the gradient of each is its pull times what `grad` holds."""
    p, first, second = at(memory.theta, place), at(memory.first, place), at(memory.second, place)
    settings, count = at(moves.settings, SETTINGS * t), moves.counts[t]
    call(moves.tensors[t, RULE], (p, grad, first, second, pulls, settings, factor, count, clip, rows, n))


@part
def finish(calls: Calls, memory: Memory, moves: Moves, factor: float, at_once: bool) -> None:
    """The updates that had to wait for the whole gradient, and the average."""
    clip = 1.0
    if moves.clip > 0:
        moves.squares[0] = 0
        for t in range(len(moves.tensors)):
            squares = at(moves.squares, 0)
            call(calls.add_squares, (at(memory.grad, moves.tensors[t, START]), squares, moves.tensors[t, LENGTH]))
        clip = moves.clip / (math.sqrt(moves.squares[0]) + 1e-6)
        clip = 1.0 if clip > 1.0 else clip  # NaN stays
    for t in range(len(moves.tensors)):
        if not at_once or moves.tensors[t, LAYER] < 0:
            move_tensor(memory, moves, t, factor, clip)
        if moves.tensors[t, LAYER] < 0:  # an embedding: its gradient is added up, never written over
            start = moves.tensors[t, START]
            for i in range(start, start + moves.tensors[t, LENGTH]):
                memory.grad[i] = 0
    if moves.follow > 0:
        call(calls.follow, (at(memory.average, 0), at(memory.theta, 0), moves.follow, len(memory.theta)))
