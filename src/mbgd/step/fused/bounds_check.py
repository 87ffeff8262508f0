"""Check a model and its rows before kernels read them: what the program was not made for is refused in one sentence.

Kernels trust the sizes that they are told, and read where labels and codes say. So both are looked at for each chunk: a dataset
reads its rows anew, and what lies in memory may be written to between two chunks by whoever owns it. Two things are looked at
once, since it would take a pass over them all: the codes of rows that lie in memory, which become 0 later where there is no such
code (`picked.known`), and the entries of sparse rows (`data.sparse`, `sparse_linear.column_of`).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from mbgd.compiled.kernel import kernel
from mbgd.data.chunk import Chunk
from mbgd.data.source import inputs_of
from mbgd.errors import DataError, PlanError
from mbgd.model.table import no_place
from mbgd.step.fused.arena import limits_of
from mbgd.step.fused.layout import Data, Ints
from mbgd.step.fused.program import Program

_REMEDY = "check the dataset and its collate_fn"
_NO_PLACES = np.zeros(0, np.int64)


class BoundsCheck:
    """What a program was made for, as it was then."""

    def __init__(self, program: Program, model: nn.Module) -> None:
        self._program, self._model = program, model
        self._shapes = [tensor.shape for tensor in program.tensors()]
        self._limits = limits_of(program)
        last = program.layers[-1].outputs
        self._of_label, self._n_targets = np.array([last]), 1 if program.by_label or program.levels else last

    def check_model(self) -> None:
        """Raises PlanError where a parameter was replaced by another or has changed its shape."""
        tensors = self._program.tensors()
        if {id(t) for t in tensors} != {id(p) for p in self._model.parameters()}:
            raise PlanError(
                "model must keep its parameters while it is trained, got others since; begin a new training with these"
            )
        for tensor, shape in zip(tensors, self._shapes, strict=True):
            if tensor.shape != shape:
                name = next(name for name, p in self._model.named_parameters() if p is tensor)
                raise PlanError(
                    f"parameter {name!r} must keep its shape while it is trained, {tuple(shape)}, got {tuple(tensor.shape)}; "
                    "begin a new training with that"
                )

    def check_inputs(self, x: list[Tensor], data: Data) -> None:
        """Raises DataError for inputs of another width or type than those that the program was made for, and for codes that
        it has no place for; `data` is what kernels read of them."""
        self._check_shapes(x)
        self._check_codes(data)

    def _check_shapes(self, x: list[Tensor]) -> None:
        program, n = self._program, len(x[0])
        _check("X", x[0], n, program.n_numbers, program.dtype)
        if program.n_codes:
            if len(x) < 2:
                raise DataError(f"X must be numbers and codes, got {len(x)} input; {_REMEDY}")
            _check("codes", x[1], n, program.n_codes, torch.int64, like="the model has cardinalities")

    def check_chunk(self, chunk: Chunk, data: Data) -> None:
        """The same of its rows, of their targets and weights; and for fewer rows than were asked for."""
        rows, n = chunk.data, len(chunk.data.leaves()[0])
        wanted = int(chunk.starts[-1] + chunk.sizes[-1])  # batches lie one behind the other, or each is all rows
        if chunk.places is not None:  # they are those of an order of n rows
            wanted = n if wanted <= len(chunk.places) else wanted
        if wanted > n:
            raise DataError(f"data must have the {wanted} rows asked for, got {n}; {_REMEDY}")
        if not (isinstance(rows.x, Tensor) and rows.x.layout == torch.sparse_csr):
            self._check_shapes(inputs_of(rows.x))
        assert rows.y is not None  # the desk refuses data without targets
        _check("y", rows.y, n, self._n_targets)
        if rows.w is not None:
            _check("weight", rows.w, n, 1)
        if len(data.labels) and not _are_within(data.picked, len(data.labels), data.labels, self._of_label):
            raise self._outside_of_classes(data)
        if len(data.picked) == 0:
            self._check_codes(data)

    def _check_codes(self, data: Data) -> None:
        """Raises DataError for a code that the model has no place for, in any row."""
        width = len(self._limits)
        if width and not _are_within(_NO_PLACES, len(data.codes) // width, data.codes, self._limits):
            row, column = np.argwhere(
                (data.codes.reshape(-1, width) < 0) | (data.codes.reshape(-1, width) >= self._limits)
            )[0]
            raise no_place(int(data.codes[row * width + column]), int(column), int(self._limits[column]))

    def _outside_of_classes(self, data: Data) -> DataError:
        labels = data.labels[data.picked] if len(data.picked) else data.labels
        wrong = labels[(labels < 0) | (labels >= self._of_label[0])][0]
        return DataError(
            f"y must hold class labels 0 to {self._of_label[0] - 1} for a model with {self._of_label[0]} outputs, got {wrong}; "
            "number the classes from 0, or give the last layer one output a class"
        )


def _check(
    name: str, leaf: Tensor, n: int, width: int, dtype: torch.dtype | None = None, *, like: str = "its first row has"
) -> None:
    """A tensor of n rows, each of so many numbers, on the CPU."""
    if leaf.ndim == 0 or len(leaf) != n or leaf.numel() != n * width:
        shape = tuple(leaf.shape)
        raise DataError(f"{name} must have {n} rows of {width} numbers, as {like}, got shape {shape}; {_REMEDY}")
    if dtype not in (None, leaf.dtype) or leaf.device.type != "cpu":
        wanted, given = (str(kind).removeprefix("torch.") for kind in (dtype, leaf.dtype))
        raise DataError(f"{name} must hold {wanted} numbers, as its first row does, got {given}; {_REMEDY}")


@kernel
def _are_within(picked: Ints, n: int, numbers: Ints, limits: Ints) -> bool:
    """Whether in each of n rows, or of those that are picked, every number is below the limit of its column; one below 0 is very
    large. No branch stands in the loop, for nothing is ever found."""
    outside, width = False, np.uint64(len(limits))
    for i in range(len(picked) or n):
        row = np.uint64(picked[i]) if len(picked) else np.uint64(i)
        for c in range(len(limits)):
            outside |= bool(np.uint64(numbers[row * width + np.uint64(c)]) >= np.uint64(limits[c]))
    return not outside
