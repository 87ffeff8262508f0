"""A gradient in the arena in, parameters moved by the formula of their optimizer: some rows, a tensor, or all that waited."""

from __future__ import annotations

import math
from typing import Any

from mbgd.compiled.kernel import at, call, part
from mbgd.compiled.vectors import LANES
from mbgd.step.fused.gate import meet
from mbgd.step.fused.layout import (
    CODES,
    DECAY,
    LAYER,
    LENGTH,
    ROW,
    RULE,
    SETTINGS,
    START,
    Batches,
    Calls,
    Data,
    Floats,
    Memory,
    Moves,
    Net,
    Team,
)
from mbgd.step.fused.picked import known

Pointer = Any


@part
def begin(moves: Moves, share: float) -> None:
    """Number the update that comes next, and let it have that share of the weight decay."""
    for t in range(len(moves.counts)):
        moves.counts[t] += 1
        moves.settings[SETTINGS * t + DECAY] = moves.decays[t] * share


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
def finish(
    calls: Calls,
    net: Net,
    memory: Memory,
    data: Data,
    batches: Batches,
    j: int,
    moves: Moves,
    factor: float,
    at_once: bool,
) -> None:
    """The updates of batch j that had to wait for the whole gradient, and the average."""
    clip = 1.0
    if moves.clip > 0:
        moves.squares[0] = 0
        for t in range(len(moves.tensors)):
            squares = at(moves.squares, 0)
            call(calls.add_squares, (at(memory.grad, moves.tensors[t, START]), squares, moves.tensors[t, LENGTH]))
        clip = _clipped(moves)
    for t in range(len(moves.tensors)):
        if moves.tensors[t, ROW]:
            _move_rows_alone(calls, net, memory, data, batches, j, moves, t, factor, clip, memory.grad, 0, 1)
        elif not at_once or moves.tensors[t, LAYER] < 0:
            move_tensor(memory, moves, t, factor, clip)
    _clear_tables(memory, moves)
    if moves.follow > 0:
        call(calls.follow, (at(memory.average, 0), at(memory.theta, 0), moves.follow, len(memory.theta)))


@part
def _move_rows_alone(
    calls: Calls,
    net: Net,
    memory: Memory,
    data: Data,
    batches: Batches,
    j: int,
    moves: Moves,
    t: int,
    factor: float,
    clip: float,
    grads: Floats,
    rank: int,
    size: int,
) -> None:
    """Update the rows of table t that a batch has codes of, and that have a gradient: each once, since it is 0 afterwards. Of
    several threads each has its own codes; `grads` holds their gradients one after the other, whose sum is taken."""
    start, wide, column, whole = (
        moves.tensors[t, START],
        moves.tensors[t, ROW],
        moves.tensors[t, CODES],
        len(memory.theta),
    )
    for i in range(batches.starts[j], batches.starts[j] + batches.sizes[j]):
        row = data.picked[i] if len(data.picked) else i
        code = known(data.codes[row * net.n_codes + column], net.limits[column])
        if code % size != rank:
            continue
        place, any_gradient = start + code * wide, False
        for other in range(1, size):
            call(calls.add, (at(grads, place), at(grads, other * whole + place), wide))
            for k in range(other * whole + place, other * whole + place + wide):
                grads[k] = 0
        for k in range(place, place + wide):
            any_gradient = any_gradient or grads[k] != 0
        if any_gradient:
            move(memory, moves, t, factor, clip, at(grads, place), place, wide)
            for k in range(place, place + wide):
                grads[k] = 0


@part
def _clear_tables(memory: Memory, moves: Moves) -> None:
    """The gradient of an embedding is added up, never written over."""
    for t in range(len(moves.tensors)):
        if moves.tensors[t, LAYER] < 0 and not moves.tensors[t, ROW]:
            start = moves.tensors[t, START]
            for i in range(start, start + moves.tensors[t, LENGTH]):
                memory.grad[i] = 0


@part
def finish_together(
    calls: Calls,
    net: Net,
    memory: Memory,
    data: Data,
    batches: Batches,
    j: int,
    moves: Moves,
    factor: float,
    team: Team,
) -> None:
    """The sum of all threads' gradients, in their order, and the updates; each thread does its share of every tensor."""
    meet(team)
    whole = len(memory.theta)
    moves.squares[team.rank] = 0
    for t in range(len(moves.tensors)):
        start, n = _share(moves, t, team)
        if moves.tensors[t, ROW] and moves.clip == 0:
            continue
        for other in range(1, team.size):
            call(calls.add, (at(team.grads, start), at(team.grads, other * whole + start), n))
            for k in range(other * whole + start, other * whole + start + (n if moves.tensors[t, ROW] else 0)):
                team.grads[k] = 0
        if moves.clip > 0:
            call(calls.add_squares, (at(team.grads, start), at(moves.squares, team.rank), n))
    clip = 1.0
    if moves.clip > 0:
        meet(team)
        clip = _clipped(moves)
    for t in range(len(moves.tensors)):
        start, n = _share(moves, t, team)
        if moves.tensors[t, ROW]:
            rank, size = team.rank, team.size
            _move_rows_alone(calls, net, memory, data, batches, j, moves, t, factor, clip, team.grads, rank, size)
        else:
            move(memory, moves, t, factor, clip, at(team.grads, start), start, n)
    meet(team)
    _clear_tables(memory, moves)
    if moves.follow > 0:
        first, end = whole * team.rank // team.size, whole * (team.rank + 1) // team.size
        call(calls.follow, (at(memory.average, first), at(memory.theta, first), moves.follow, end - first))


@part
def _share(moves: Moves, t: int, team: Team) -> tuple[int, int]:
    """Where a thread's share of a tensor begins, and its length: whole cache lines."""
    length = moves.tensors[t, LENGTH]
    each = (length + team.size * LANES - 1) // (team.size * LANES) * LANES
    first = min(length, each * team.rank)
    return moves.tensors[t, START] + first, min(length - first, each)


@part
def _clipped(moves: Moves) -> float:
    """What brings the gradient's norm down to the limit, as torch has it."""
    squares = 0.0
    for rank in range(len(moves.squares)):  # not sum(): Numba's arrays know it by way of scipy, a third of a second
        squares += moves.squares[rank]
    clip = moves.clip / (math.sqrt(squares) + 1e-6)
    return 1.0 if clip > 1.0 else clip  # NaN stays
