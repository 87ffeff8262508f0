"""The nodes of a network of arrays: numbers and codes to the outputs of each row.

n rows · E numbers embedded · K bins · S numbers of each
M members · I inputs
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbgd.desk.onnx.graph import DOUBLE, FLOAT, Graph
from mbgd.model.arrays import Bends, Front, Network, Scaling


def outputs(graph: Graph, network: Network, numbers: str | None, codes: str | None) -> str:
    """(n, n_outputs), in the type of the weights."""
    u = numbers
    if isinstance(network.front, Front):
        u = _front(graph, network.front, numbers, codes)
    assert u is not None
    if isinstance(network.front, Scaling):
        u = _scaled(graph, network.front, u)
    last = len(network.layers) - 1
    for number, (weight, bias) in enumerate(network.layers):
        if number == last and network.members > 1:
            return _mean_of_members(graph, u, weight, bias)
        arrays = graph.constant(weight, name="weight"), graph.constant(bias, name="bias")
        u = graph.node("Gemm", u, *arrays, name=f"layer {number + 1}", attributes={"transB": 1})
        if number < last:
            u = _bent(graph, network.activation, u, network.dtype)
    return u


def _scaled(graph: Graph, scaling: Scaling, numbers: str) -> str:
    center, scale = graph.constant(scaling.center, name="center"), graph.constant(scaling.scale, name="scale")
    there = graph.node("Where", graph.node("IsNaN", numbers), center, numbers, name="or the center")
    z = graph.node("Div", graph.node("Sub", there, center), scale, name="distance in scales")
    if not np.isfinite(scaling.bound).any():
        return z
    low, high = graph.constant(-scaling.bound, name="low"), graph.constant(scaling.bound, name="high")
    return graph.node("Min", graph.node("Max", z, low), high, name="within what was seen")


def _front(graph: Graph, front: Front, numbers: str | None, codes: str | None) -> str:
    parts = [] if numbers is None else [numbers]
    if front.bends is not None and numbers is not None:
        parts.append(_bends(graph, front.bends, numbers))
    if len(front.hot_code) and codes is not None:
        code = graph.constant(front.hot_code, name="code")
        hot = graph.node("Equal", graph.columns(codes, front.hot_column), code, name="one-hot")
        parts.append(graph.cast(hot, FLOAT))
    for column, table in front.embedded:
        assert codes is not None
        code = graph.node(
            "Gather", codes, graph.constant(column, dtype=np.int64, name="column"), attributes={"axis": 1}
        )
        parts.append(graph.node("Gather", graph.constant(table, name="embedding"), code, name="embedded"))
    joined = graph.beside(parts, name="inputs")
    if front.scale is None:
        return joined
    scale = graph.constant(front.scale, name="scale")
    if front.members == 1:
        return graph.node("Mul", joined, scale)
    joined_n1I = graph.node("Unsqueeze", joined, graph.constant([1], dtype=np.int64, name="axis"))
    each = graph.node("Mul", joined_n1I, scale, name="inputs of each member")
    shape = graph.constant([-1, front.scale.shape[1]], dtype=np.int64, name="shape")
    return graph.node("Reshape", each, shape, name="a row a member")


def _mean_of_members(graph: Graph, u: str, weight_MOI: NDArray[Any], bias_MO: NDArray[Any]) -> str:
    """(n, O) of (n M, I)."""
    shape = graph.constant([-1, len(weight_MOI), weight_MOI.shape[2]], dtype=np.int64, name="shape")
    u_nMI = graph.node("Reshape", u, shape, name="members of each row")
    weight, bias = graph.constant(weight_MOI, name="weight"), graph.constant(bias_MO, name="bias")
    found = graph.node("Einsum", u_nMI, weight, name="last layers", attributes={"equation": "nmi,moi->nmo"})
    axis = graph.constant([1], dtype=np.int64, name="axis")
    return graph.node(
        "ReduceMean", graph.node("Add", found, bias), axis, name="mean of members", attributes={"keepdims": 0}
    )


def _bends(graph: Graph, bends: Bends, numbers: str) -> str:
    """(n, E S)."""
    axis, (n_numbers, _, size) = graph.constant([2], dtype=np.int64, name="axis"), bends.embedding.shape
    x_nE1 = graph.node("Unsqueeze", graph.columns(numbers, bends.column), axis)
    left, per_bin = graph.constant(bends.left, name="left edge"), graph.constant(bends.per_bin, name="one over width")
    share_nEK = graph.node("Mul", graph.node("Sub", x_nE1, left), per_bin)
    ends = (graph.constant(end, dtype=bends.left.dtype, name="end") for end in (0, 1))
    share_nEK = graph.node("Clip", share_nEK, *ends, name="share of each bin")
    embedding = graph.constant(bends.embedding, name="embedding of numbers")
    found = graph.node("Einsum", share_nEK, embedding, name="bent", attributes={"equation": "bek,eks->bes"})
    shape = graph.constant([-1, n_numbers * size], dtype=np.int64, name="shape")
    return graph.node("Reshape", found, shape)


def _bent(graph: Graph, activation: str, u: str, dtype: np.dtype[np.generic]) -> str:
    if activation in ("relu", "tanh"):
        return graph.node(activation.capitalize(), u)
    if activation == "silu":
        return graph.node("Mul", u, graph.node("Sigmoid", u), name="silu")
    half, one, root = (graph.constant(value, dtype=dtype) for value in (0.5, 1.0, np.sqrt(0.5)))
    kind = FLOAT if dtype == np.float32 else DOUBLE
    bent = graph.cast(graph.node("Mul", u, root), FLOAT)  # runtimes have Erf in no other type
    bent = graph.cast(graph.node("Erf", bent), kind)
    below = graph.node("Add", bent, one)  # twice the share of a normal below u
    return graph.node("Mul", graph.node("Mul", u, below), half, name="gelu")
