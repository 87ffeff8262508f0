"""Build an ONNX graph node by node; written out by hand, so that it can be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET, ML_OPSET, IR_VERSION = 18, 3, 9  # old enough for runtimes of 2023
ML = "ai.onnx.ml"
DOUBLE, FLOAT, INT64 = TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.INT64
STRING, BOOL = TensorProto.STRING, TensorProto.BOOL


class Graph:
    """Nodes in the order in which they compute. A value is the name of what a node gives."""

    def __init__(self, input_names: Sequence[str]) -> None:
        """`input_names`: all that will be given to `input`, so that no other value takes one of them."""
        self._names = set(input_names)
        self._numbered: dict[str, int] = {}  # the number that a name is to be tried with next
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: dict[str, onnx.ValueInfoProto] = {}
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, kind: int, *, width: int = 1, said: str = "") -> str:
        """A tensor (rows, width) that whoever runs the graph gives under this name; made once."""
        shape: list[Any] = ["rows", width]
        self._inputs.setdefault(name, helper.make_tensor_value_info(name, kind, shape, doc_string=said))
        return name

    def output(self, name: str, value: str, kind: int, *, width: int | None = None, said: str = "") -> None:
        """What is given back: (rows,), or (rows, width)."""
        shape: list[Any] = ["rows"] if width is None else ["rows", width]
        own = self._free(name)
        self._nodes.append(helper.make_node("Identity", [value], [own]))
        self._outputs.append(helper.make_tensor_value_info(own, kind, shape, doc_string=said))

    def constant(
        self, value: NDArray[Any] | Sequence[Any] | float, *, dtype: Any = None, name: str = "constant"
    ) -> str:
        own = self._free(f"{name}:")
        self._constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), own))
        return own

    def node(
        self, operator: str, *values: str, name: str = "", domain: str = "", attributes: Mapping[str, Any] | None = None
    ) -> str:
        """The value of one more operator; `name` says what it is, for readers of the graph."""
        own = self._free(f"{name or operator.lower()}:")
        self._nodes.append(helper.make_node(operator, values, [own], name=own, domain=domain, **(attributes or {})))
        return own

    def cast(self, value: str, kind: int) -> str:
        return self.node("Cast", value, attributes={"to": kind})

    def columns(self, value: str, which: Sequence[int] | NDArray[Any], *, name: str = "") -> str:
        """Some columns (rows, len(which)) of a matrix."""
        index = self.constant(which, dtype=np.int64, name="columns")
        return self.node("Gather", value, index, name=name, attributes={"axis": 1})

    def beside(self, values: Sequence[str], *, name: str = "") -> str:
        """Matrices of as many rows, side by side."""
        if len(values) == 1:
            return values[0]
        return self.node("Concat", *values, name=name, attributes={"axis": 1})

    def flat(self, value: str) -> str:
        """(rows, 1) as (rows,)."""
        return self.node("Squeeze", value, self.constant([1], dtype=np.int64, name="axis"))

    def to_model(self, *, said: str, facts: Mapping[str, str]) -> onnx.ModelProto:
        """The whole, checked."""
        graph = helper.make_graph(
            self._nodes, "mbgd", list(self._inputs.values()), self._outputs, self._constants, doc_string=said
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="mbgd")
        helper.set_model_props(model, dict(facts))
        onnx.checker.check_model(model, full_check=True)
        return model

    def _free(self, name: str) -> str:
        own, k = (
            name,
            self._numbered.get(name, 0),
        )  # lower numbers are taken: thousands of columns ask for the same name
        while own in self._names or own.endswith(":"):
            own, k = f"{name}{'' if name.endswith(':') else '_'}{k}", k + 1
        self._names.add(own)
        self._numbered[name] = k
        return own
