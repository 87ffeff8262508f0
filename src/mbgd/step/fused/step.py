"""Make the updates of a chunk in one compiled call that holds no GIL; the same numbers as autograd's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbgd.compiled.kernel import Leaf
from mbgd.data.chunk import Chunk
from mbgd.data.source import Rows, inputs_of
from mbgd.step.evaluation import evaluating
from mbgd.step.fading import fading
from mbgd.step.fused import activations, bent, dot_tiles, front, heads, losses, products, scale, tiles, updates
from mbgd.step.fused.arena import NUMPY, bent_columns, edges_of, uses_blas
from mbgd.step.fused.binding import Binding
from mbgd.step.fused.blas import address_of_gemm
from mbgd.step.fused.blas_threads import blas_threads
from mbgd.step.fused.bounds_check import BoundsCheck
from mbgd.step.fused.codes import NONE, Named
from mbgd.step.fused.finite import all_finite
from mbgd.step.fused.gradient import NOTHING_MOVES, Still
from mbgd.step.fused.layout import DECAY, OUTPUTS, SETTINGS, Batches, Calls, Data, Floats, Memory, Moves, Net
from mbgd.step.fused.linear import run_linear
from mbgd.step.fused.losses import BY_ELEMENT, BY_LABEL, pinballs
from mbgd.step.fused.outputs import run_outputs
from mbgd.step.fused.products import MANY_ROWS
from mbgd.step.fused.program import Program
from mbgd.step.fused.run import run_chunk
from mbgd.step.fused.single import run_single
from mbgd.step.fused.team import Threads, alone
from mbgd.step.gradient import Forward, GradientRule
from mbgd.step.state import State, capture, is_finite, restore
from mbgd.step.update import Updater

_NO_LABELS = np.zeros(0, np.int64)
OF_MEMBERS = ("add_share", "forward_heads", "heads_to_inputs", "heads_to_weights", "heads_to_bias")


class FusedEngine:
    """Updates by compiled kernels, on the memory of the module and its optimizer. Either engine may take the next chunk.

    Inside `bound()` the tensors stay in flat buffers between chunks; outside, each chunk takes them in and gives them
    back.
    """

    name = "fused"
    packs_tightly = True
    reads_in_place = True
    reads_sparse = False
    may_draw = False

    def __init__(
        self,
        program: Program,
        updater: Updater,
        *,
        rule: GradientRule,
        seed: int,
        threads: int = 1,
        team: int = 1,
        fades_over: int | None = None,
        decay_fades_over: int | None = None,
    ) -> None:
        """`threads` are those of BLAS; a `team` of threads shares the rows of each batch instead; dropout and weight decay
        fade over so many steps."""
        self.program, self.updater, self.rule, self.seed, self.threads = program, updater, rule, seed, threads
        self._team, self._fades_over, self._decay_fades_over = team, fades_over, decay_fades_over
        self._binding: Binding | None = None
        self._threads: Threads | None = None
        self._dtype = NUMPY[program.dtype]
        self._by_blas = uses_blas(program)
        self._calls = calls_of(self._dtype, by_blas=self._by_blas, members=program.layers[-1].copies)
        self._edges, self._bounds = edges_of(program), BoundsCheck(program, updater.model)
        self._is_linear = is_linear(program)
        self._lying: tuple[Rows, Data] | None = None  # rows that were not gathered, and what kernels read of them

    @contextmanager
    def bound(self) -> Iterator[None]:
        """Parameters, state and averages share memory with the kernels inside; each has its own again afterwards."""
        if self._binding is not None:
            yield
            return
        self._bounds.check_model()
        self._binding = Binding(self.program, self.updater)
        try:
            self._binding.attach()
            if self._team > 1:
                self._threads = Threads(self._team, self.program, self._binding)
            yield
        finally:
            binding, self._binding, self._lying = self._binding, None, None
            threads, self._threads = self._threads, None
            if threads is not None:
                threads.stop()
            binding.release()

    def run(self, chunk: Chunk, batches: range, *, rate_factors: NDArray[np.float64], steps_done: int) -> Tensor:
        self._bounds.check_model()
        with self.bound():
            binding = self._binding
            assert binding is not None  # bound() has made it
            binding.attach()
            batch = self._batches(chunk, batches, rate_factors=rate_factors, steps_done=steps_done)
            net = net_of(self.program, binding, edges=self._edges, seed=self.seed)
            data, moves = self._data(chunk), moves_of(binding, self.updater)
            if self._threads is not None:
                self._threads.run(self._calls, net, data, batch, moves)
            else:
                self._call(net, binding.memory, data, batch, moves)
            binding.count()
        return torch.from_numpy(batch.losses)

    def gradient(self, chunk: Chunk, batch: int) -> Tensor:
        updater, trained = self.updater, self.updater.trained()
        self._bounds.check_model()
        with evaluating(updater.model), torch.no_grad():
            still = Still(self.program, trained)
            one = self._batches(chunk, range(batch, batch + 1), rate_factors=np.ones(len(chunk)), steps_done=0)
            net = net_of(self.program, still, edges=self._edges, seed=self.seed)
            self._call(net, still.memory, self._data(chunk), one, NOTHING_MOVES)
            return updater.flat([still.gradient_of(tensor) for tensor in trained])

    def predicting(self) -> Forward:
        self._bounds.check_model()
        with evaluating(self.updater.model), torch.no_grad():
            still = Still(self.program, ())
            net = net_of(self.program, still, edges=self._edges, seed=self.seed)

        def outputs(*parts: Tensor, **named: Tensor) -> Tensor:
            x = [*parts, *named.values()]
            found = np.empty((len(x[0]), net.layers[-1, OUTPUTS]), self._dtype)
            data = self._inputs(x)
            self._bounds.check_inputs(x, data)
            with blas_threads(self.threads) if self._by_blas else nullcontext():
                run_outputs(self._calls, net, still.memory, data, found.reshape(-1), len(found))
            return torch.from_numpy(found)

        return outputs

    def _call(self, net: Net, memory: Memory, data: Data, batches: Batches, moves: Moves) -> None:
        with blas_threads(self.threads) if self._by_blas else nullcontext():
            if not self._is_linear:
                run_chunk(self._calls, net, memory, data, batches, moves, alone(self._dtype))
            elif moves.bare and len(batches.sizes) == len(batches.losses):
                run_single(net, memory, data, batches, moves, int(self.program.loss == Named("log_loss")))
            else:
                run_linear(self._calls, net, memory, data, batches, moves)

    def _batches(self, chunk: Chunk, which: range, *, rate_factors: NDArray[np.float64], steps_done: int) -> Batches:
        return batches_of(
            chunk,
            which,
            program=self.program,
            mean_weight=self.rule.mean_weight,
            rate_factors=rate_factors,
            steps_done=steps_done,
            fades_over=self._fades_over,
            decay_fades_over=self._decay_fades_over,
        )

    def _data(self, chunk: Chunk) -> Data:
        if chunk.places is None:
            data = self._flat_data(chunk.data)
            data = data._replace(picked=np.arange(len(data.y))) if self._is_linear else data
        else:
            if self._lying is None or self._lying[0] is not chunk.data:
                self._lying = chunk.data, self._flat_data(chunk.data)
                self._bounds.check_inputs(inputs_of(chunk.data.x), self._lying[1])
            data = self._lying[1]._replace(picked=chunk.places)
        self._bounds.check_chunk(chunk, data)
        return data

    def _flat_data(self, rows: Rows) -> Data:
        y, w = rows.y, rows.w
        assert y is not None  # the desk refuses data without targets
        data, dtype = self._inputs(inputs_of(rows.x)), self.program.dtype
        own = {"labels": _flat(y.to(torch.int64))} if self.program.by_label else {"y": _flat(y.to(dtype))}
        return data._replace(**own | ({} if w is None else {"w": _flat(w.to(dtype))}))

    def _inputs(self, x: list[Tensor]) -> Data:
        codes = _flat(x[1]) if len(x) > 1 else _NO_LABELS
        empty = np.zeros(0, self._dtype)
        return Data(x=_flat(x[0]), codes=codes, y=empty, labels=_NO_LABELS, w=empty, picked=_NO_LABELS)

    def capture(self) -> State:
        return capture(self.updater)

    def restore(self, state: State) -> None:
        restore(self.updater, state)
        if self._binding is not None:
            self._binding.clear_gaps()

    def is_finite(self) -> bool:
        if self._binding is None:
            return is_finite(self.updater)
        memory = self._binding.memory
        return bool(all_finite(memory.theta) and all_finite(memory.first) and all_finite(memory.second))


def batches_of(
    chunk: Chunk,
    which: range,
    *,
    program: Program,
    mean_weight: float,
    rate_factors: NDArray[np.float64],
    steps_done: int,
    fades_over: int | None,
    decay_fades_over: int | None,
) -> Batches:
    """Some batches of a chunk as kernels take them; `rate_factors` has one entry a batch of the chunk."""
    part = slice(which.start, which.stop)
    sizes, first = chunk.sizes[part], steps_done + which.start
    weight, fades = mean_weight * program.layers[-1].copies, fading(first, len(sizes), fades_over)
    return Batches(
        starts=chunk.starts[part],
        sizes=sizes,
        scales=1.0 / (chunk.divisors[part] * weight),
        factors=rate_factors[part],
        fades=fades,
        decays=fades if decay_fades_over == fades_over else fading(first, len(sizes), decay_fades_over),
        losses=np.empty(int(sizes.sum()), NUMPY[program.dtype]),
        first_step=first,
    )


def net_of(program: Program, binding: Binding | Still, *, edges: Floats, seed: int) -> Net:
    """What computes outputs, with the rates of dropout of now."""
    return Net(
        layers=binding.layers,
        settings=np.array([layer.activation.setting for layer in program.layers]),
        dropout=np.array([_rate(layer.dropout) for layer in program.layers]),
        front=binding.front,
        edges=edges,
        n_bent=len(bent_columns(program)),
        block=binding.block,
        n_numbers=program.n_numbers,
        n_codes=program.n_codes,
        limits=binding.limits,
        loss=_loss(program).address(NUMPY[program.dtype]),
        loss_setting=float(program.loss.setting),
        by_label=int(program.by_label),
        levels=np.array(program.levels, np.float64),
        seed=seed % (1 << 63),
    )


def moves_of(binding: Binding, updater: Updater) -> Moves:
    """How its optimizer moves what is bound."""
    return Moves(
        tensors=binding.tensors,
        settings=binding.settings,
        decays=binding.settings[DECAY::SETTINGS].copy(),
        counts=binding.counts,
        squares=np.zeros(1),
        clip=float(updater.clip_norm or 0.0),
        follow=0.0 if updater.average is None or updater.ema_decay is None else 1.0 - updater.ema_decay,
        bare=int(binding.is_bare and updater.clip_norm is None and updater.average is None),
    )


def _loss(program: Program) -> Leaf:
    return pinballs if program.levels else (BY_LABEL if program.by_label else BY_ELEMENT)[program.loss.name]


def _rate(dropout: torch.nn.Dropout | None) -> float:
    return dropout.p if dropout is not None and dropout.training else 0.0


def _flat(tensor: Tensor) -> Floats:
    return tensor.detach().contiguous().numpy().reshape(-1)


def calls_of(dtype: np.dtype[Any], *, by_blas: bool, members: int = 1) -> Calls:
    """The leaves that every program uses, compiled or read from disk; BLAS is looked for where a layer goes through it, and
    what only several members need is left at 0 for one."""
    rooms = (products, tiles, dot_tiles, activations, front, bent, scale, heads, losses, updates)
    named = {name: found for room in rooms for name, found in vars(room).items() if isinstance(found, Leaf)}
    unused = {"gemm"} if members > 1 else {"gemm", *OF_MEMBERS}
    addresses = {name: 0 if name in unused else named[name].address(dtype) for name in Calls._fields}
    return Calls(**addresses | {"gemm": address_of_gemm(dtype) if by_blas else 0})


def shares_batches(program: Program, batch_size: int) -> bool:
    """Whether threads can take some rows of each batch each: not where BLAS has threads of its own, nor where a step is
    over before they could meet."""
    return not (is_linear(program) or (uses_blas(program) and batch_size >= MANY_ROWS))


def is_linear(program: Program) -> bool:
    """One output that is a sum over columns of x, and nothing else."""
    layer = program.layers[0]
    bare = layer.weight is not None and layer.activation == NONE and layer.dropout is None
    return len(program.layers) == 1 and bare and layer.outputs == 1
