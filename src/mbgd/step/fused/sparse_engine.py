"""Make the updates of a chunk of sparse rows in one compiled call; the same numbers as from dense ones.

The rows stay where they lie. H units of the first layer
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbgd.data.chunk import Chunk
from mbgd.data.sparse import SparseSource, csr_of
from mbgd.errors import PlanError
from mbgd.step.fused.arena import NUMPY, edges_of, uses_blas
from mbgd.step.fused.binding import REMEDY, Binding
from mbgd.step.fused.blas_threads import blas_threads
from mbgd.step.fused.bounds_check import BoundsCheck
from mbgd.step.fused.finite import all_finite
from mbgd.step.fused.layout import Batches, Data, Floats, Memory, Moves, Net, Sparse
from mbgd.step.fused.program import Program
from mbgd.step.fused.sparse_linear import is_same, run_sparse_linear, write_out
from mbgd.step.fused.sparse_net import run_sparse_net
from mbgd.step.fused.sparse_program import weight_of, why_all_move
from mbgd.step.fused.step import FusedEngine, batches_of, calls_of, is_linear, moves_of, net_of
from mbgd.step.gradient import Forward, GradientRule
from mbgd.step.saved_state import SCALE, UNDECAYED
from mbgd.step.state import State, capture, is_finite, restore
from mbgd.step.update import Updater

_NO_LABELS = np.zeros(0, np.int64)


class SparseEngine:
    """Updates of what begins with a product of sparse rows. Inside `bound()` parameters lie in flat buffers, the first
    layer's column behind column, and what its decay has taken is kept apart, as two states of the optimizer."""

    name = "fused"
    packs_tightly = True
    reads_in_place = True
    reads_sparse = True
    may_draw = False

    def __init__(
        self,
        program: Program,
        updater: Updater,
        *,
        rule: GradientRule,
        seed: int,
        dense: FusedEngine,
        fades_over: int | None = None,
        decay_fades_over: int | None = None,
    ) -> None:
        """`dense` is the engine for the same rows made dense, which gradients are asked of."""
        self.program, self.updater, self.rule, self.seed = program, updater, rule, seed
        self._dense, self._fades_over, self._decay_fades_over = dense, fades_over, decay_fades_over
        self._weight, self._by_blas = weight_of(program), uses_blas(program)
        self._calls = calls_of(NUMPY[program.dtype], by_blas=self._by_blas)
        self._bounds = BoundsCheck(program, updater.model)
        self._binding: Binding | None = None

    @contextmanager
    def bound(self) -> Iterator[None]:
        """Parameters and state share memory with the kernels inside; each has its own again afterwards."""
        if self._binding is not None:
            yield
            return
        self._bounds.check_model()
        self._binding = Binding(self.program, self.updater)
        try:
            self._binding.attach()
            yield
        finally:
            binding, self._binding = self._binding, None
            binding.release()
            self._forget()

    def weights_of_a_row(self, source: SparseSource) -> tuple[int, int]:
        """(weights of the first layer, those that a row reads and moves, on average)."""
        n_all, width = self._weight.numel(), max(1, source.matrix.shape[1])
        return n_all, -(-source.matrix._nnz() * (n_all // width) // source.n_rows)

    def _forget(self) -> None:
        """Nobody else has a use for what was kept apart."""
        state = self.updater.optimizer.state
        for name in (UNDECAYED, SCALE) if self._weight in state else ():
            state[self._weight].pop(name, None)
        if self._weight in state and not state[self._weight]:
            del state[self._weight]

    def run(self, chunk: Chunk, batches: range, *, rate_factors: NDArray[np.float64], steps_done: int) -> Tensor:
        self._bounds.check_model()
        with self.bound():
            binding = self._binding
            assert binding is not None  # bound() has made it
            if why := why_all_move(self.program, self.updater):
                raise PlanError(f"sparse rows must move their own columns alone between two steps, but {why}; {REMEDY}")
            binding.attach()
            batch = batches_of(
                chunk,
                batches,
                program=self.program,
                mean_weight=self.rule.mean_weight,
                rate_factors=rate_factors,
                steps_done=steps_done,
                fades_over=self._fades_over,
                decay_fades_over=self._decay_fades_over,
            )
            net = net_of(self.program, binding, edges=edges_of(self.program), seed=self.seed)
            theta = self._theta(binding)
            sparse = self._sparse(chunk, batch, theta, binding)
            self._call(net, binding.memory, self._data(chunk), sparse, batch, moves_of(binding, self.updater))
            if sparse.weights is not theta:
                write_out(theta, sparse)
        return torch.from_numpy(batch.losses)

    def _call(self, net: Net, memory: Memory, data: Data, sparse: Sparse, batches: Batches, moves: Moves) -> None:
        if is_linear(self.program):
            run_sparse_linear(net, memory, data, sparse, batches, moves)
            return
        with blas_threads(1) if self._by_blas else nullcontext():
            run_sparse_net(self._calls, net, memory, data, sparse, batches, moves)

    def _theta(self, binding: Binding) -> Floats:
        """The first layer's weights, flat: it is the first that is laid out."""
        return binding.memory.theta[: self._weight.numel()]

    def _sparse(self, chunk: Chunk, batches: Batches, theta: Floats, binding: Binding) -> Sparse:
        assert isinstance(chunk.data.x, Tensor)  # a source of sparse rows gives nothing else
        assert chunk.places is not None
        rows, dtype = int(batches.sizes.max(initial=0)), NUMPY[self.program.dtype]
        sparse = Sparse(
            *csr_of(chunk.data.x),
            picked=chunk.places,
            weights=theta,
            scale=np.ones(1),
            kept=np.empty(rows * self.program.layers[0].outputs, dtype),
            outputs=np.empty(rows, dtype),
        )
        group = next(g for g, group in enumerate(self.updater.optimizer.param_groups) if self._is_in(group["params"]))
        return self._undecayed(sparse, binding) if binding.decays_late(self._weight, group) else sparse

    def _is_in(self, parameters: list[Tensor]) -> bool:
        return any(parameter is self._weight for parameter in parameters)

    def _undecayed(self, sparse: Sparse, binding: Binding) -> Sparse:
        """The weights without what decay has taken; begun anew where somebody has changed those that he sees."""
        state = self.updater.optimizer.state[self._weight]
        scale = state.setdefault(SCALE, torch.ones((), dtype=torch.float64)).numpy().reshape(1)
        apart = sparse._replace(weights=binding.memory.first[: self._weight.numel()], scale=scale)
        if not is_same(sparse.weights, apart):
            apart.weights[:], scale[0] = sparse.weights, 1.0
        return apart

    def _data(self, chunk: Chunk) -> Data:
        """Targets and weights, row behind row."""
        y, w, places = chunk.data.y, chunk.data.w, torch.from_numpy(chunk.places)
        assert y is not None  # the desk refuses data without targets
        dtype, labels = self.program.dtype, self.program.by_label
        empty = np.zeros(0, NUMPY[dtype])
        data = Data(
            x=empty,
            codes=_NO_LABELS,
            y=empty if labels else y[places].to(dtype).numpy().reshape(-1),
            labels=y[places].to(torch.int64).numpy() if labels else _NO_LABELS,
            w=empty if w is None else w[places].to(dtype).numpy(),
            picked=_NO_LABELS,
        )
        self._bounds.check_chunk(chunk, data)
        return data

    def predicting(self) -> Forward:
        return self.updater.model

    def gradient(self, chunk: Chunk, batch: int) -> Tensor:
        if chunk.places is None:
            return self._dense.gradient(chunk, batch)
        first = int(chunk.sizes[:batch].sum())
        places = chunk.places[first : first + int(chunk.sizes[batch])]
        one = slice(batch, batch + 1)
        dense = replace(
            chunk,
            data=SparseSource(chunk.data).read(places),
            starts=np.zeros(1, np.int64),
            sizes=chunk.sizes[one],
            divisors=chunk.divisors[one],
            places=None,
        )
        return self._dense.gradient(dense, 0)

    def capture(self) -> State:
        return capture(self.updater)

    def restore(self, state: State) -> None:
        restore(self.updater, state)
        if self._binding is not None:
            self._binding.clear_gaps()

    def is_finite(self) -> bool:
        if self._binding is None:
            return is_finite(self.updater)
        return bool(all_finite(self._binding.memory.theta))
