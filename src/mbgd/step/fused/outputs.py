"""Rows in, a program's outputs for them out, block by block: what `run_chunk` does on the way up, and nothing else.

Each row's outputs have the same bits whatever rows stand beside it, but for layers so wide that they go through BLAS.
Rows are taken as those of a large batch, however many there are.
"""

from __future__ import annotations

from mbgd.compiled.instructions import flush_subnormals, restore_subnormals
from mbgd.compiled.kernel import at, call, kernel
from mbgd.step.fused.forward import forward
from mbgd.step.fused.layout import COPIES, FRONT, OUTPUT, OUTPUTS, Calls, Data, Floats, Memory, Net
from mbgd.step.fused.products import MANY_ROWS


@kernel
def run_outputs(calls: Calls, net: Net, memory: Memory, data: Data, outputs: Floats, n_rows: int) -> None:
    """`outputs` is (n_rows, C), flat, of several members the mean of theirs; no rate of dropout in `net` may be above 0."""
    mode, last = flush_subnormals(), len(net.layers) - 1
    members = net.layers[last, COPIES]
    part = memory.outputs.dtype.type(1.0 / members)
    width, found = net.layers[last, OUTPUTS], net.layers[last, OUTPUT] * net.block
    if net.n_bent:
        call(calls.add_up, (at(net.front, 0), at(memory.theta, 0), at(memory.sums, 0), len(net.front) // FRONT))
    for start in range(0, n_rows, net.block):
        rows = min(net.block, n_rows - start)
        forward(calls, net, memory, data, start, rows, 0, start == 0, MANY_ROWS, 0, 1.0)
        n = rows * width
        for i in range(n):
            outputs[start * width + i] = memory.outputs[found + i]
        for k in range(1, members):
            for i in range(n):
                outputs[start * width + i] += memory.outputs[found + k * n + i]
        for i in range(n if members > 1 else 0):
            outputs[start * width + i] *= part
    restore_subnormals(mode)
