"""Outputs of networks in, what the graph gives back out: numbers in the target's own units, quantiles, or classes.

n rows · O outputs · C classes · Q quantile levels
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mbgd.desk.onnx.graph import BOOL, DOUBLE, INT64, STRING, Graph
from mbgd.desk.plain import Plain, PlainModel, labels_of
from mbgd.measure.conformal import ALIKE, pairs_of
from mbgd.step.plain import prediction_word


def means(graph: Graph, model: PlainModel, outputs: str, *, classes: bool) -> str:
    """(n, O) in float64: probabilities for classes, else numbers in the target's own units, quantiles widened."""
    facts = model.facts
    u = graph.cast(outputs, DOUBLE)
    temperature = float(facts.get("temperature", 1.0))
    if temperature != 1:
        u = graph.node("Div", u, _number(graph, temperature), name="at a temperature")
    u = _predicted(graph, prediction_word(facts["loss"], several=model.several, levels=model.levels), u, model)
    if classes:
        return u
    target = facts.get("target") or {}
    each = target.get("several") or [target]
    scale, center = ([float(one.get(name, without)) for one in each] for name, without in (("scale", 1), ("center", 0)))
    u = graph.node("Add", graph.node("Mul", u, _number(graph, scale)), _number(graph, center), name="own units")
    for operator, end, without in (("Max", "low", -np.inf), ("Min", "high", np.inf)):
        ends = [without if one.get(end) is None else float(one[end]) for one in each]
        if np.isfinite(ends).any():
            u = graph.node(operator, u, _number(graph, ends), name=f"{end} of training")
    return u if facts.get("widening") is None else _widened(graph, u, model.levels, facts["widening"])


def mean_of(graph: Graph, each: Sequence[str]) -> str:
    if len(each) == 1:
        return each[0]
    return graph.node("Div", graph.node("Sum", *each), _number(graph, float(len(each))), name="mean of models")


def give(graph: Graph, plain: Plain, mean: str) -> None:
    """The outputs of the graph."""
    first, labels = plain.models[0], labels_of(plain)
    if labels:
        _give_classes(graph, plain, mean, labels)
        return
    target = first.facts.get("target") or {}
    said = f"{target.get('name', 'prediction')}, in its own units"
    if first.facts.get("multilabel"):
        above = graph.node("Greater", mean, _number(graph, 0.5), name="likelier than not")
        width = first.facts["output_shape"][0]
        graph.output("label", graph.cast(above, INT64), INT64, width=width, said="0 or 1 of each label")
        graph.output("probabilities", mean, DOUBLE, width=width, said="of each label by itself")
    elif first.levels:
        middle = _middle(graph, mean, first.levels)
        graph.output("prediction", graph.flat(middle), DOUBLE, said=f"the median of {said}")
        graph.output("quantiles", mean, DOUBLE, width=len(first.levels), said=f"of levels {list(first.levels)}")
    elif first.several:
        graph.output("prediction", mean, DOUBLE, width=first.facts["output_shape"][0], said=said)
    else:
        graph.output("prediction", graph.flat(mean), DOUBLE, said=said)


def _give_classes(graph: Graph, plain: Plain, p: str, labels: tuple[Any, ...]) -> None:
    if not plain.models[0].several:
        p = graph.beside([graph.node("Sub", _number(graph, 1.0), p), p], name="of both classes")
    cut = plain.threshold
    if cut is None:
        index = graph.node("ArgMax", p, attributes={"axis": 1, "keepdims": 0})
    else:
        of_one = graph.flat(graph.columns(p, [cut["positive"]]))
        found = graph.node("GreaterOrEqual", of_one, _number(graph, float(cut["probability"])), name="by the threshold")
        one, other = (graph.constant(k, dtype=np.int64) for k in (cut["positive"], 1 - cut["positive"]))
        index = graph.node("Where", found, one, other)
    kind = BOOL if isinstance(labels[0], bool) else INT64 if isinstance(labels[0], int) else STRING
    values = np.array(labels, dtype=object if kind == STRING else None)
    label = graph.node("Gather", graph.constant(values, name="classes"), index)
    graph.output("label", label, kind, said=f"one of {list(labels)}")
    graph.output("probabilities", p, DOUBLE, width=len(labels), said=f"of {list(labels)}")


def _predicted(graph: Graph, word: str, u: str, model: PlainModel) -> str:
    if word in ("exp", "sigmoid"):
        return graph.node(word.capitalize(), u)
    if word == "softmax":
        return graph.node("Softmax", u, attributes={"axis": 1})
    return _sorted(graph, [graph.columns(u, [k]) for k in range(len(model.levels))]) if word == "in order" else u


def _sorted(graph: Graph, columns: list[str]) -> str:
    """A few columns put in order row by row, by neighbours that change places."""
    for end in range(len(columns) - 1, 0, -1):
        for k in range(end):
            pair = columns[k], columns[k + 1]
            columns[k], columns[k + 1] = graph.node("Min", *pair), graph.node("Max", *pair)
    return graph.beside(columns, name="in order")


def _widened(graph: Graph, u: str, levels: tuple[float, ...], pairs: Sequence[Mapping[str, Any]]) -> str:
    """`Widening.applied`."""
    by = np.zeros(len(levels))
    for pair, (low, high) in zip(pairs, pairs_of(levels), strict=True):
        by[low] -= pair["by"] or 0.0
        by[high] += pair["by"] or 0.0
    moved = graph.node("Add", u, _number(graph, by.tolist()), name="widened")
    each = [graph.columns(moved, [k]) for k in range(len(levels))]
    found = list(each)
    below = sum(level < 0.5 - ALIKE for level in levels)
    above = sum(level < 0.5 + ALIKE for level in levels)
    for k in range(min(below, len(levels) - 1) - 1, -1, -1):
        found[k] = graph.node("Min", found[k], found[k + 1])
    inner = each[max(above - 1, 0)]
    for k in range(max(above, 1), len(levels)):
        found[k] = inner = graph.node("Max", each[k], inner)
    return graph.beside(found, name="in order")


def _middle(graph: Graph, quantiles: str, levels: tuple[float, ...]) -> str:
    """`measure.quantiles.middle` of what is in order."""
    halves = [k for k, level in enumerate(levels) if abs(level - 0.5) < ALIKE]
    n = len(levels)
    which = [halves[0]] if halves else [n // 2] if n % 2 else [n // 2 - 1, n // 2]
    return mean_of(graph, [graph.columns(quantiles, [k]) for k in which])


def _number(graph: Graph, value: Any) -> str:
    return graph.constant(value, dtype=np.float64, name="number")
