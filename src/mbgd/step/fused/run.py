"""A chunk of batches in, its updates made in one call: forward, loss, backward and update, block of rows by block.

A batch is cut into blocks whose activations stay in the second-level cache; their gradients are added in order. Within a
block a product is made strip by strip, and what follows it is done while the strip is in the first: bias, activation and
dropout of some rows; the way back through them; the update of some weights, whose gradient is then never kept. Nothing is
allocated, and what a batch does depends on that batch alone: not on the chunk it comes in.
"""

from __future__ import annotations

from mbgd.compiled.instructions import flush_subnormals, restore_subnormals
from mbgd.compiled.kernel import at, call, kernel
from mbgd.step.fused.backward import backward
from mbgd.step.fused.forward import forward, loss
from mbgd.step.fused.gate import GIVE_UP
from mbgd.step.fused.layout import (
    FRONT,
    Batches,
    Calls,
    Data,
    Memory,
    Moves,
    Net,
    Team,
)
from mbgd.step.fused.moves import begin, finish, finish_together
from mbgd.step.fused.picked import lay_out_picked


@kernel
def run_chunk(calls: Calls, net: Net, memory: Memory, data: Data, batches: Batches, moves: Moves, team: Team) -> None:
    """Several threads run it side by side, each on its rows of every batch: they meet where all gradients are there, and
    where all parameters have been moved."""
    done, mode = 0, flush_subnormals()
    for j in range(len(batches.sizes)):
        m, factor = batches.sizes[j], batches.factors[j]
        first, end = m * team.rank // team.size, m * (team.rank + 1) // team.size
        n_blocks = max(1, (end - first + net.block - 1) // net.block)
        block = max(1, (end - first + n_blocks - 1) // n_blocks)  # even: a last one of a few rows would be slow
        at_once = n_blocks == 1 and moves.clip == 0 and team.size == 1
        if team.rank == 0:
            begin(moves, batches.decays[j])
        if net.n_bent:
            call(calls.add_up, (at(net.front, 0), at(memory.theta, 0), at(memory.sums, 0), len(net.front) // FRONT))
        for place in range(first, end, block):
            rows, start, fresh = min(block, end - place), batches.starts[j] + place, place == first
            here, at_row = data, start
            if len(data.picked):
                lay_out_picked(net, memory.rows, data, start, rows)
                here, at_row = memory.rows, 0
            forward(calls, net, memory, here, at_row, rows, place, fresh, m, batches.first_step + j, batches.fades[j])
            loss(calls, net, memory, here, batches, at_row, rows, done + place, batches.scales[j])
            backward(calls, net, memory, here, moves, at_row, rows, fresh, m, at_once, factor)
        if net.n_bent:
            call(calls.spread, (at(net.front, 0), at(memory.steps, 0), at(memory.grad, 0), len(net.front) // FRONT))
        if team.size == 1:
            finish(calls, net, memory, data, batches, j, moves, factor, at_once)
        else:
            for i in range(len(memory.grad) if first == end else 0):
                memory.grad[i] = 0
            finish_together(calls, net, memory, data, batches, j, moves, factor, team)
            if team.gate[GIVE_UP]:
                break
        done += m
    restore_subnormals(mode)
