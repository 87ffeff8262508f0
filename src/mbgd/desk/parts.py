"""Everything that trains a model, made from a plan and rows that are ready; every choice made is written down."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from mbgd.data.ahead import ahead
from mbgd.data.chance import drawing
from mbgd.data.chunk import Chunk
from mbgd.data.iterable import iterable_of
from mbgd.data.loader import Draws
from mbgd.data.order import IntArray, Order, Tail, steps_per_epoch
from mbgd.data.source import ArraySource, Source, first_row
from mbgd.data.sparse import SparseSource
from mbgd.data.stream import ChunkEnds, chunks, rows_in_place, rows_of_a_chunk
from mbgd.desk.engine import make_engine
from mbgd.desk.epoch import epoch_of
from mbgd.desk.length import length, rows_planned
from mbgd.desk.machine import WORK_OF_A_CHUNK
from mbgd.desk.mean_weight import mean_weight
from mbgd.desk.plan import Plan
from mbgd.desk.rates import rates_of, scheduled
from mbgd.desk.standing import SNAPSHOT_STEPS
from mbgd.loop.progress import Progress
from mbgd.loop.steps import RateFactor
from mbgd.loop.stop import Ending, StopReason
from mbgd.measure.evaluate import Ends
from mbgd.measure.metrics import METRICS, check_metric, default_metric
from mbgd.measure.own_metric import OwnMetric
from mbgd.seeds import step_seed
from mbgd.step.autograd import Engine
from mbgd.step.label_weights import divisor_said
from mbgd.step.loss import Loss
from mbgd.step.targets import Shape, is_one
from mbgd.step.update import Updater, make_optimizer
from mbgd.tune.scheduler import Scheduler

BATCHES_OF_A_CHUNK = {"autograd": 256, "fused": 1 << 16}  # at most; fused they cost a microsecond each, or less
EACH_EPOCH = "each_epoch"  # whether a callback made each epoch's end one that is looked at
LOOKED_AT_EACH_EPOCH = 64  # steps an epoch from which every epoch's end is looked at
EVALUATED_AT_ONCE = (
    8192  # rows: large enough to hide Python, small enough that a hidden layer's outputs stay near the caches
)


@dataclass(frozen=True)
class Held:
    """Rows that train nothing: some `rows` of a source, or all of it where None."""

    source: Source
    rows: IntArray | None


@dataclass(frozen=True)
class Parts:
    """What trains a model. `resolved` is what was decided here, as plan.json keeps it."""

    model: nn.Module
    source: Source
    order: Order
    loss: Loss
    output_shape: Shape
    engine: Engine
    rate_factor: RateFactor
    scheduler: Scheduler | None  # one of torch's, beside a constant rate factor
    ends: ChunkEnds
    batch_size: int
    tail: Tail
    total_steps: int | None
    validation: Held | None
    metric: str
    device: torch.device
    threads: int
    prefetch: int
    resolved: dict[str, Any]
    notices: tuple[str, ...] = ()
    own_metric: OwnMetric | None = None
    classes: tuple[Any, ...] = ()  # labels by which a metric of the user's own knows them; numbers where none
    n_classes: int = 2
    target_scale: Ends = (0.0, 1.0)  # (center, scale) of a standardised target: scores are in its own units
    target_range: Ends = (-math.inf, math.inf)  # of its predictions, in those units

    @property
    def in_place(self) -> bool:
        """Whether rows are left where they lie, and read there."""
        return in_place(self.engine, self.source)

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(self.order.n_rows, batch_size=self.batch_size, tail=self.tail)

    @property
    def epochs(self) -> float | None:
        """Passes over the training rows that are planned, None where something else ends them."""
        if (stream := iterable_of(self.source)) is not None:
            return stream.passes if self.total_steps is None else None
        return None if self.total_steps is None else self.total_steps / self.steps_per_epoch

    @property
    def greater_is_better(self) -> bool:
        return self.own_metric.greater_is_better if self.own_metric else bool(METRICS.get(self.metric, False))

    @property
    def planned_end(self) -> StopReason:
        return StopReason.STEPS if self.resolved["limit"] == "steps" else StopReason.EPOCHS

    def no_more_rows(self, at: Progress) -> Ending:
        """Why it is over where an iterable dataset has been gone through."""
        stream = iterable_of(self.source)
        assert stream is not None, "chunks of numbered rows come without end"
        whole = stream.passes == at.cursor.epoch and self.total_steps is None
        return Ending(StopReason.EPOCHS if whole else StopReason.ROWS, {"steps": at.steps_done})

    def looked_at_each_epoch(self) -> Parts:
        """The same with a look at each epoch's end, as a callback needs it; plan.json keeps that."""
        return replace(self, ends=replace(self.ends, at_epoch_end=True), resolved={**self.resolved, EACH_EPOCH: True})

    def rows_at_once(self, source: Source) -> int:
        """How many rows of a source a forward pass may take without training: no fewer than in training."""
        in_training = self.engine.rule.micro_batch or self.batch_size
        return min(EVALUATED_AT_ONCE, max(rows_of_a_chunk(source), in_training))

    def chunks(self, start: Progress) -> Generator[Chunk, None, None]:
        """Chunks from a position on, on the device; without end but for an iterable dataset."""
        stream = iterable_of(self.source)
        coming = chunks(
            self.source,
            self.order,
            batch_size=self.batch_size,
            tail=self.tail,
            start=start.cursor,
            rows_seen=start.rows_seen,
            steps_done=start.steps_done,
            ends=self.ends,
            tight=self.engine.packs_tightly,
            in_place=self.in_place,
        )
        if stream is not None:
            coming = stream.chunks(self.source, ends=self.ends, tight=self.engine.packs_tightly)
        on_device = first_row(self.source).leaves()[0].device.type == self.device.type
        if not isinstance(self.source, (ArraySource, SparseSource)):
            coming = self._seeded(coming, start.steps_done)
        yield from ahead(coming, depth=self.prefetch, move=None if on_device else self._moved)

    def _seeded(self, coming: Iterator[Chunk], steps_done: int) -> Iterator[Chunk]:
        """Read each chunk by a seed of its first step, other than that of the step itself: a dataset that draws at random
        then draws the same after a resume. A thread that reads ahead in this process cannot: the generators are dropout's.
        """
        while True:
            with drawing(step_seed(self.engine.seed, ~steps_done), here=self.prefetch == 0):
                chunk = next(coming, None)
            if chunk is None:
                return
            steps_done += len(chunk)
            yield chunk

    def _moved(self, chunk: Chunk) -> Chunk:
        return replace(chunk, data=chunk.data.map(lambda leaf: leaf.to(self.device, non_blocking=True)))


def assemble(
    model: nn.Module,
    source: Source,
    *,
    plan: Plan,
    loss: Loss,
    output_shape: Shape,
    chosen: IntArray | None,
    validation: Held | None,
    device: torch.device,
    for_scores: Loss | None = None,
    labels_weigh: bool = False,
    draws: Draws | None = None,
    classes: tuple[Any, ...] = (),
    stop_after: int | None = None,
    n_classes: int = 2,
    target_scale: Ends = (0.0, 1.0),
    target_range: Ends = (-math.inf, math.inf),
) -> Parts:
    """The parts from a source whose rows are ready: batch size, length, schedule, optimizer, engine, machine.

    `for_scores` is the loss without what is for training alone, the same where None; `labels_weigh` says that row weights are
    those of labels. After `stop_after` steps it ends, and there the schedule ends, too: a rate that never came down leaves
    weights of one moment.
    """
    cut = epoch_of(model, source, plan=plan, chosen=chosen, draws=draws, device=device)
    n_rows, batch_size, tail, per_epoch = cut.n_rows, cut.batch_size, cut.tail, cut.steps
    planned, limit = length(plan, per_epoch)
    total_steps = planned if stop_after is None else min(stop_after, planned or stop_after)
    metric = _metric(plan, loss, output_shape)
    every = [plan.checkpoint_every] if isinstance(plan.checkpoint_every, int) else []
    every += [SNAPSHOT_STEPS] if plan.on_divergence == "recover" else []
    updater = _updater(model, plan)
    in_memory = isinstance(source, (ArraySource, SparseSource))
    engine, reason, threads, work = make_engine(
        model,
        source,
        plan=plan,
        updater=updater,
        loss=loss,
        output_shape=output_shape,
        mean_weight=mean_weight(source, chosen, seed=plan.seed),
        batch_size=batch_size,
        total_steps=total_steps,
    )
    rate_factor, scheduler = rates_of(
        plan,
        updater,
        horizon_rows=rows_planned(total_steps, n_rows, batch_size, tail),
        validated=validation is not None,
        greater_is_better=bool(METRICS.get(metric, False)),
    )
    ends = ChunkEnds(
        max_batches=max(1, min(BATCHES_OF_A_CHUNK[engine.name], int(WORK_OF_A_CHUNK / work))),
        max_rows=rows_in_place(source) if in_place(engine, source) else rows_of_a_chunk(source),
        every_steps=(*every, *([total_steps] if total_steps else [])),
        at_epoch_end=validation is not None or plan.target_loss is not None or (per_epoch or 0) >= LOOKED_AT_EACH_EPOCH,
    )
    if scheduler is not None:
        ends = replace(ends, at_epoch_end=True, max_batches=1 if scheduler.every == "step" else ends.max_batches)
    return Parts(
        model=model,
        source=source,
        order=Order(n_rows, plan.seed, plan.sampling, chosen, None if draws is None else draws.rows),
        loss=for_scores or loss,
        output_shape=output_shape,
        own_metric=plan.metric if isinstance(plan.metric, OwnMetric) else None,
        classes=classes,
        n_classes=n_classes,
        target_scale=target_scale,
        target_range=target_range,
        engine=engine,
        rate_factor=rate_factor,
        scheduler=scheduler,
        ends=ends,
        batch_size=batch_size,
        tail=tail,
        total_steps=total_steps,
        validation=validation,
        metric=metric,
        notices=(divisor_said(loss.name, engine.rule.mean_weight),) if labels_weigh else (),
        device=device,
        threads=threads,
        prefetch=plan.prefetch if plan.prefetch is not None else int(plan.workers > 0 and not in_memory),
        resolved={
            "training_rows": None if per_epoch is None else n_rows,
            "batch_size": batch_size,
            "tail": tail,
            "steps": total_steps,
            "limit": limit,
            "steps_per_epoch": per_epoch,
            "loss": loss.name,
            "metric": metric,
            "optimizer": type(updater.optimizer).__name__,
            "learning_rates": updater.base_rates,
            "schedule": scheduled(plan, scheduler),
            "device": str(device),
            "threads": threads,
            "engine": engine.name,
            "engine_reason": reason,
            "parameters": sum(p.numel() for p in model.parameters()),
        },
    )


def in_place(engine: Engine, source: Source) -> bool:
    """Whether rows are left where they lie, and read there."""
    if isinstance(source, SparseSource):
        return engine.reads_sparse
    return engine.reads_in_place and isinstance(source, ArraySource) and source.lies_by_rows


def _metric(plan: Plan, loss: Loss, output_shape: Shape) -> str:
    if isinstance(plan.metric, OwnMetric):
        return plan.metric.name
    if plan.metric is not None:
        return check_metric(plan.metric, loss.kind, ranked=not is_one(output_shape) or len(output_shape) < 2)
    return "loss" if loss.kind == "custom" else default_metric(loss.kind)


def _updater(model: nn.Module, plan: Plan) -> Updater:
    rate = plan.learning_rate if plan.learning_rate != "auto" else None
    optimizer = make_optimizer(
        plan.optimizer,
        model,
        learning_rate=rate,
        momentum=plan.momentum,
        nesterov=plan.nesterov,
        weight_decay=plan.weight_decay,
    )
    return Updater(optimizer, model, clip_norm=plan.clip_norm, ema_decay=plan.ema_decay)
