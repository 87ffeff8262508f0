"""A network of arrays in, its nodes out: numbers and codes to the outputs of each row.

n rows · E numbers embedded · K bins · S numbers of each
"""

from __future__ import annotations

import numpy as np

from mbgd.desk.onnx.graph import FLOAT, Graph
from mbgd.model.arrays import Bends, Front, Network


def outputs(graph: Graph, network: Network, numbers: str | None, codes: str | None) -> str:
    """(n, n_outputs), in the type of the weights."""
    u = numbers if network.front is None else _front(graph, network.front, numbers, codes)
    assert u is not None
    last = len(network.layers) - 1
    for number, (weight, bias) in enumerate(network.layers):
        arrays = graph.constant(weight, name="weight"), graph.constant(bias, name="bias")
        u = graph.node("Gemm", u, *arrays, name=f"layer {number + 1}", attributes={"transB": 1})
        if number < last:
            u = _bent(graph, network.activation, u, network.dtype)
    return u


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
    return joined if front.scale is None else graph.node("Mul", joined, graph.constant(front.scale, name="scale"))


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
    below = graph.node("Add", graph.node("Erf", graph.node("Mul", u, root)), one)  # twice the share of a normal below u
    return graph.node("Mul", graph.node("Mul", u, below), half, name="gelu")
