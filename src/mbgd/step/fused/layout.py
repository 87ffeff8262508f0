"""A program as kernels read it: what stands in which column of its tables. Plain numbers, so that one compiled form runs
every network.

layers (L, 17) one row a layer, front (C, 8) one row a column that is looked up, tensors (T, 6) one row a trained tensor,
settings (T, 6) the numbers of its optimizer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]
Ints = NDArray[np.int64]

# layers: W and BIAS are offsets in `theta` (-1: none), CURVE the address of the activation (0: none) and RECTIFIED
# whether it is ReLU alone, OUTPUT and SLOPE units a row before this layer's (SLOPE -1: none kept), TURNED the offset of
# its transposed copy, WIDE whether the products of many rows are BLAS's, STRIP how many of its outputs are learnt at once
# (0: all of them, by way of the transposed gradient), W_TENSOR and BIAS_TENSOR rows of `tensors` (-1: not trained), BELOW whether
# the gradient goes on to the layer below, SKIP how many of its inputs need none, COPIES how many rows it has for each row of
# the data: behind the scales of members that share a body one for each, side by side
LAYER_COLUMNS = 17
KIND, INPUTS, OUTPUTS, W, BIAS, CURVE, RECTIFIED, OUTPUT = range(8)
SLOPE, TURNED, WIDE, STRIP, W_TENSOR, BIAS_TENSOR, BELOW, SKIP, COPIES = range(8, LAYER_COLUMNS)
DENSE, PLAIN, COLUMNS, SCALE, SPARSE, HEADS = range(6)  # kinds: a product; none; numbers and categories side by side; a
# factor each; a product of sparse rows; a product for each member
# front: one of the three kinds, which code or number, where to, how wide, offset in theta (-1: none); and of embedded
# numbers how many bins, and offsets in `edges` and in `sums`
FRONT_KIND, CODE_COLUMN, PLACE, WIDTH, TABLE, BINS, EDGES, SUMS = range(8)
FRONT = 8
EMBEDDED, HOT, BENT = range(3)
START, LENGTH, RULE, LAYER, ROW, CODES = range(6)
# tensors: place in theta, which formula, the layer that it belongs to (-1: none); numbers of a row where rows move alone (0:
# they do not), and which code names a row
TENSOR_COLUMNS = 6
SETTINGS, DECAY = 6, 1  # rate, decay, momentum or beta, beta 2, eps, 1 for decoupled decay


class Calls(NamedTuple):
    """Addresses of the leaves, by name, that every program uses."""

    gemm: int
    multiply: int
    multiply_rows: int
    turn: int
    forward: int
    to_inputs: int
    to_weights: int
    add_bias: int
    rectify: int
    back_through_relu: int
    back_through: int
    drop: int
    copy: int
    lay_out: int
    add_up: int
    look_up: int
    to_bins: int
    spread: int
    scale: int
    unscale: int
    to_scale: int
    forward_heads: int
    heads_to_inputs: int
    heads_to_weights: int
    heads_to_bias: int
    to_tables: int
    share: int
    add_share: int
    add: int
    add_squares: int
    follow: int


class Net(NamedTuple):
    """What computes outputs from inputs, and the loss; `block` is how many rows are taken at once."""

    layers: Ints
    settings: Floats  # (L,) float64, slope or alpha of each activation
    dropout: Floats  # (L,) float64, rate after each layer, 0 for none
    front: Ints  # flat
    edges: Floats  # of the embedded numbers
    n_bent: int  # how many of them
    block: int
    n_numbers: int
    n_codes: int
    limits: Ints  # of the codes of each column: all are below it
    loss: int
    loss_setting: float
    by_label: int
    levels: Floats  # float64, of quantiles, one an output; else empty
    seed: int  # of dropout


class Data(NamedTuple):
    """The rows of a chunk, flat, or all rows with the numbers of the chunk's in `picked`; what is not there is empty."""

    x: Floats
    codes: Ints
    y: Floats
    labels: Ints
    w: Floats
    picked: Ints


class Memory(NamedTuple):
    """Buffers: the first five lie alike, tensor beside tensor; the rest holds one block of rows."""

    theta: Floats
    grad: Floats
    first: Floats  # momentum, or Adam's first moment
    second: Floats
    average: Floats
    turned: Floats  # transposed weights
    strip: Floats  # the gradient of some weights
    outputs: Floats
    slopes: Floats
    deltas: Floats  # two halves that take turns
    pull: Floats  # (R,)
    each: Floats  # (R,), losses of one of several members
    sums: Floats  # running sums over the bins of embedded numbers
    steps: Floats  # the gradients there
    bins: Ints  # (R, E)
    shares: Floats  # (R, E)
    rows: Data  # those that were picked, and weights of 1
    unit: Floats  # a 1


class Sparse(NamedTuple):
    """Rows in CSR form, of which a chunk has those in `picked`, and the weights of all columns.

    Column c has its weights to all H units side by side, from weights[c H] on; they are those of the model over scale[0].
    """

    starts: Ints
    columns: Ints
    values: Floats
    picked: Ints
    weights: Floats
    scale: Floats  # (1,) float64
    kept: Floats  # (rows of the largest batch, H): the gradient at the units
    outputs: Floats  # (rows of the largest batch,)


class Batches(NamedTuple):
    """One entry a batch of the chunk; `losses` one a row."""

    starts: Ints
    sizes: Ints
    scales: Floats  # 1 / (divisor times mean weight)
    factors: Floats  # of the learning rate
    fades: Floats  # of the rates of dropout
    decays: Floats  # of the weight decay
    losses: Floats
    first_step: int  # updates before the first of them


class Team(NamedTuple):
    """The threads that share a batch, as one of them sees it: thread `rank` takes the rows after those of the one before,
    and learns that share of every tensor."""

    rank: int
    size: int
    gate: Ints  # two cache lines: how often somebody has arrived, and whether to give up
    grads: Floats  # one gradient after the other, laid out like theta
    idle: int  # address of what lets another process have the core, 0: none


class Moves(NamedTuple):
    """How a gradient moves parameters."""

    tensors: Ints
    settings: Floats  # flat
    decays: Floats  # (T,) the optimizer's own; those of an update, which may have faded, stand among its settings
    counts: Floats  # (T,) updates so far
    squares: Floats  # (threads,) float64
    clip: float  # 0: no clipping
    follow: float  # share that the average moves a step, 0: none is kept
    bare: int  # whether it is p -= rate * gradient and nothing else, for every tensor
