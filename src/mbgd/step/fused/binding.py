"""A program and an optimizer in; their parameters, state and averages lie side by side in flat buffers until released.

torch sees the same numbers all the while: each tensor is a view of its place. On release each has its own memory back,
with the numbers that it has come to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mbgd.errors import PlanError
from mbgd.model.table import moves_by_rows
from mbgd.step.fused import layout, optimizers
from mbgd.step.fused.arena import (
    NUMPY,
    Places,
    bent_columns,
    buffer,
    front_table,
    layer_table,
    limits_of,
    numbers_of_a_strip,
    places_of,
    rows_of_a_block,
    view,
    widest_of,
)
from mbgd.step.fused.layout import Floats, Ints, Memory
from mbgd.step.fused.program import Program
from mbgd.step.fused.updates import UPDATES
from mbgd.step.saved_state import UNDECAYED
from mbgd.step.update import Updater, averaged_tensors


@dataclass
class _Lent:
    """A tensor whose numbers lie in a flat buffer for now. `own` is where they lay before, None for one made here."""

    view: Tensor
    put: Callable[[Tensor], None]
    own: Tensor | None = None

    def take(self, now: Tensor | None) -> None:
        """Bring in what stands there now, unless it is the view itself. Raises PlanError where it has another shape."""
        if now is not None and now.shape != self.view.shape:
            shapes = f"{tuple(self.view.shape)}, got {tuple(now.shape)}"
            raise PlanError(f"state of the optimizer must keep the shape of its parameter, {shapes}; leave it as it is")
        if now is not None and now.data_ptr() == self.view.data_ptr():
            return
        self.own = now
        if now is None:
            self.view.zero_()
        else:
            self.view.copy_(now)
        self.put(self.view)

    def give_back(self) -> None:
        own = torch.empty_like(self.view) if self.own is None else self.own
        self.put(own.copy_(self.view))


REMEDY = "set it before the first step, or give engine='autograd'"


class Binding:
    """The flat buffers of one training. `attach` before each chunk, `release` at the end."""

    def __init__(self, program: Program, updater: Updater) -> None:
        self._program, self._updater = program, updater
        self._places: Places = places_of(program)
        self._lent: dict[tuple[str, int], _Lent] = {}
        self.block = rows_of_a_block(program)
        self.memory = memory_of(program, self._places, self.block)
        self.front: Ints = front_table(program, self._places)
        self.limits: Ints = limits_of(program)
        self._trained: list[tuple[int, Tensor, int]] = []  # (place among all, parameter, parameter group)
        self.tensors: Ints = np.zeros((0, layout.TENSOR_COLUMNS), np.int64)
        self.layers: Ints = np.zeros((0, layout.LAYER_COLUMNS), np.int64)
        self.settings: Floats = np.zeros(0)
        self.counts: Floats = np.zeros(0)
        self.is_bare = False
        first = program.layers[0]
        self._sparse = first.weight if first.kind == layout.SPARSE else None  # its columns lie one behind the other

    @torch.no_grad()
    def attach(self) -> None:
        """Point every tensor at its place again, wherever somebody has put in another, and read the settings anew. Raises
        PlanError for one that has no fused form."""
        if why := optimizers.no_form_of_optimizer(self._updater.optimizer):
            raise PlanError(f"settings of the optimizer must keep a fused form between two steps, but {why}; {REMEDY}")
        tensors = self._program.tensors()
        for i, tensor in enumerate(tensors):
            self._held("theta", i, tensor).take(tensor.data)
        group_of = {id(p): g for g, group in enumerate(self._updater.optimizer.param_groups) for p in group["params"]}
        trained = [(i, t, group_of[id(t)]) for i, t in enumerate(tensors) if t.requires_grad and id(t) in group_of]
        groups = self._updater.optimizer.param_groups
        rules = [optimizers.rule_of(group) for group in groups]
        self._take_states(trained, rules)
        self._take_averages(tensors)
        self._trained = trained
        settings = [optimizers.settings_of(groups[g], self._updater.base_rates[g]) for _, _, g in trained]
        self.settings = np.array(settings, np.float64).reshape(-1)
        self.is_bare = len(trained) == len(tensors) and all(
            rules[g] == "sgd" and not groups[g]["weight_decay"] for _, _, g in trained
        )
        self._lay_out(trained, rules)

    def _held(self, name: str, i: int, like: Tensor) -> _Lent:
        """The place of tensor i in the buffer of that name."""
        key = (name, i)
        if key not in self._lent:
            here = view(getattr(self.memory, name), like, self._places.offsets[i], turned=like is self._sparse)
            self._lent[key] = _Lent(here, _set_data(like))
        return self._lent[key]

    def _take_states(self, trained: list[tuple[int, Tensor, int]], rules: list[str]) -> None:
        counts = np.zeros(len(trained))
        for t, (i, parameter, g) in enumerate(trained):
            names = (UNDECAYED,) if self.decays_late(parameter, g) else optimizers.STATES[rules[g]]
            state = self._updater.optimizer.state[parameter] if names else {}
            for where, name in zip(("first", "second"), names, strict=False):
                lent = self._held(where, i, parameter)
                lent.put = _set_item(state, name)
                lent.take(state.get(name))
            if rules[g] == "adam":
                if "step" not in state:
                    state["step"] = torch.zeros((), dtype=torch.float32)
                counts[t] = float(state["step"])
        self.counts = counts

    def decays_late(self, parameter: Tensor, group: int) -> bool:
        """Whether its decay is kept apart, as one factor of all its numbers."""
        return parameter is self._sparse and bool(self._updater.optimizer.param_groups[group]["weight_decay"])

    def _take_averages(self, tensors: list[Tensor]) -> None:
        average = self._updater.average
        if average is None:
            return
        place = {t.data_ptr(): k for k, t in enumerate(averaged_tensors(self._updater.model))}
        for i, tensor in enumerate(tensors):
            lent, k = self._held("average", i, tensor), place[tensor.data_ptr()]
            lent.put = _set_entry(average, k)
            lent.take(average[k])

    def _lay_out(self, trained: list[tuple[int, Tensor, int]], rules: list[str]) -> None:
        rows = {id(t): row for row, (_, t, _) in enumerate(trained)}
        self.layers = layer_table(self._program, self._places, rows)
        owner = {id(t): k for k, layer in enumerate(self._program.layers) for t in (layer.weight, layer.bias)}
        address = {rule: UPDATES[rule].address(NUMPY[self._program.dtype]) for rule in rules}
        ends = self._ends()
        offsets, alone = self._places.offsets, self._rows_that_move_alone()
        table = [
            [offsets[i], ends[i] - offsets[i], address[rules[g]], owner.get(id(t), -1), *alone.get(id(t), (0, 0))]
            for i, t, g in trained
        ]
        for row, (_, t, _) in zip(table, trained, strict=True):
            row[layout.LENGTH] = 0 if t is self._sparse else row[layout.LENGTH]  # moved entry by entry
        self.tensors = np.array(table, np.int64).reshape(len(trained), layout.TENSOR_COLUMNS)

    def _rows_that_move_alone(self) -> dict[int, tuple[int, int]]:
        """Of the embeddings whose rows do: numbers of a row, and the column of codes."""
        embedded = [column for column in self._program.front if column.edges is None]
        tables = [(c.table, c.width, c.code) for c in embedded if c.table is not None and moves_by_rows(c.table)]
        return {id(table): (width, code) for table, width, code in tables}

    def clear_gaps(self) -> None:
        """Zeros between the tensors: kernels run on over them, so that a number that is not finite would stay there."""
        for t, offset, end in zip(self._program.tensors(), self._places.offsets, self._ends(), strict=True):
            for flat in (self.memory.theta, self.memory.first, self.memory.second, self.memory.grad):
                flat[offset + t.numel() : end] = 0

    def _ends(self) -> tuple[int, ...]:
        return (*self._places.offsets[1:], self._places.total)

    def count(self) -> None:
        """Write the number of updates back to where torch keeps it, and that there were some, of which schedulers ask."""
        self._updater.optimizer._opt_called = True  # type: ignore[attr-defined]  # torch's schedulers set it so
        for t, (_, parameter, _) in enumerate(self._trained):
            state = self._updater.optimizer.state.get(parameter, {})
            if "step" in state:
                state["step"].fill_(self.counts[t])

    @torch.no_grad()
    def release(self) -> None:
        """Give each tensor its own memory back."""
        for lent in self._lent.values():
            lent.give_back()
        self._lent.clear()


def _set_data(tensor: Tensor) -> Callable[[Tensor], None]:
    def put(value: Tensor) -> None:
        tensor.data = value

    return put


def _set_item(state: dict[str, Tensor], name: str) -> Callable[[Tensor], None]:
    def put(value: Tensor) -> None:
        state[name] = value

    return put


def _set_entry(average: list[Tensor], k: int) -> Callable[[Tensor], None]:
    def put(value: Tensor) -> None:
        average[k] = value

    return put


def memory_of(program: Program, places: Places, block: int) -> Memory:
    """Buffers of zeros for a program; what is never written takes no memory."""
    dtype = NUMPY[program.dtype]
    alike: dict[str, Any] = {
        name: buffer(places.total, dtype) for name in ("theta", "grad", "first", "second", "average")
    }
    return Memory(**alike, **scratch_of(program, block), unit=np.ones(1, dtype))


def scratch_of(program: Program, block: int) -> dict[str, Any]:
    """What a thread needs for itself: the buffers that hold one block of rows."""
    dtype = NUMPY[program.dtype]
    layers = program.layers
    units = sum(layer.outputs * layer.copies for layer in layers)
    half = -(-block * widest_of(program) // 16) * 16
    bent = bent_columns(program)
    sums = sum((c.edges.shape[1] + 1) * c.width for c in bent if c.edges is not None)
    return {
        "turned": buffer(sum(0 if layer.weight is None else layer.weight.numel() for layer in layers), dtype),
        "strip": buffer(numbers_of_a_strip(program), dtype),
        "outputs": buffer(block * units, dtype),
        "slopes": buffer(block * units, dtype),
        "deltas": buffer(2 * half, dtype),
        "pull": buffer(block, dtype),
        "each": buffer(block if layers[-1].copies > 1 else 0, dtype),
        "sums": buffer(sums, dtype),
        "steps": buffer(sums, dtype),
        "bins": np.zeros(block * len(bent), np.int64),
        "shares": buffer(block * len(bent), dtype),
        "rows": layout.Data(
            x=buffer(block * program.n_numbers, dtype),
            codes=np.zeros(block * program.n_codes, np.int64),
            y=buffer(block * layers[-1].outputs, dtype),
            labels=np.zeros(block, np.int64),
            w=np.ones(block, dtype),
            picked=np.zeros(0, np.int64),
        ),
    }
