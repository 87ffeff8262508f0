"""Choose the engine that makes the updates, by a static rule on model, data and plan, and say why it is that one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch
from torch import nn

from mbgd.data.source import Source, first_row
from mbgd.data.sparse import SparseSource
from mbgd.desk.machine import check_compiler, choose_team, choose_threads, work_of_a_step
from mbgd.desk.plan import Plan
from mbgd.errors import PlanError
from mbgd.loading import uncollected
from mbgd.step.autograd import AutogradEngine, Engine
from mbgd.step.draws import may_draw
from mbgd.step.fused.program import Program, make_program
from mbgd.step.gradient import GradientRule
from mbgd.step.loss import Loss
from mbgd.step.members import taught
from mbgd.step.rows import tables_of, untouched
from mbgd.step.torch_compile import compiled_by_torch
from mbgd.step.update import Updater

if TYPE_CHECKING:  # it brings Numba with it
    from mbgd.step.fused.sparse_engine import SparseEngine
    from mbgd.step.fused.step import FusedEngine

MADE_DENSE = "; each batch of sparse rows is made dense, since "
FUSED = "the fused engine has a form for this model, loss and optimizer"


def make_engine(
    model: nn.Module,
    source: Source,
    *,
    plan: Plan,
    updater: Updater,
    loss: Loss,
    output_shape: tuple[int, ...],
    mean_weight: float,
    batch_size: int,
    total_steps: int | None,
) -> tuple[Engine, str, int, float]:
    """(engine, why, threads, operations a step): fused wherever it can be, unless the plan says autograd. Raises PlanError
    where it must and cannot."""
    check_compiler(os.environ)
    fades_over = total_steps if plan.dropout_fades and not plan.compile else None
    decay_fades_over = _decay_fades_over(plan, updater.optimizer, total_steps)
    work = work_of_a_step(model, batch_size, untouched=untouched(tables_of(model, updater.optimizer)))
    threads = choose_threads(plan.threads, work)
    forward, per_row = taught(model, loss.per_row)
    rule = GradientRule(per_row, mean_weight=mean_weight, micro_batch=plan.micro_batch, bf16=plan.precision == "bf16")
    found = "engine='autograd' was asked for"
    if plan.engine != "autograd":
        found_or_program = _program(model, source, plan=plan, updater=updater, loss=loss, output_shape=output_shape)
        if isinstance(found_or_program, Program):
            with uncollected():
                from mbgd.step.fused.step import FusedEngine, shares_batches

            team = 1
            if shares_batches(found_or_program, batch_size):
                team = choose_team(plan.threads, work, batch_size)
                threads = plan.threads if isinstance(plan.threads, int) else team
            with uncollected():  # it reads compiled kernels
                fused = FusedEngine(
                    found_or_program,
                    updater,
                    rule=rule,
                    seed=plan.seed,
                    threads=threads,
                    team=team,
                    fades_over=fades_over,
                    decay_fades_over=decay_fades_over,
                )
            if not isinstance(source, SparseSource):
                return fused, FUSED, threads, work
            sparse, why = _for_sparse(fused, found_or_program, fades_over, decay_fades_over)
            if sparse is None:
                return fused, FUSED + MADE_DENSE + why, threads, work
            of_all, touched = sparse.weights_of_a_row(source)
            work = work_of_a_step(model, batch_size, untouched=of_all - touched)
            return sparse, FUSED, plan.threads if isinstance(plan.threads, int) else 1, work
        found = found_or_program
    if plan.engine == "fused":
        raise PlanError(f"engine must have a form for what it trains, got 'fused', but {found}; engine='auto' chooses")
    found += MADE_DENSE + "autograd takes no others" if isinstance(source, SparseSource) else ""
    forward = compiled_by_torch(forward) if plan.compile else forward
    on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
    autograd = AutogradEngine(
        updater,
        forward,
        rule,
        plan.seed,
        fades_over=fades_over,
        decay_fades_over=decay_fades_over,
        may_draw=may_draw(model, loss, updater.optimizer, plain_dropout_aside=on_cpu and not plan.compile),
    )
    return autograd, found, threads, work


def _decay_fades_over(plan: Plan, optimizer: torch.optim.Optimizer, total_steps: int | None) -> int | None:
    """The steps over which weight decay fades; None where it stays."""
    if not plan.weight_decay_fades:
        return None
    if total_steps is None:
        raise PlanError(
            "weight_decay_fades must know how many steps are planned, got no such number; set epochs or steps, beside "
            "another limit"
        )
    if not all("weight_decay" in group for group in optimizer.param_groups):
        name = type(optimizer).__name__
        raise PlanError(f"weight_decay_fades needs an optimizer with weight decay, got {name}; use 'adamw' or 'sgd'")
    return total_steps


def _for_sparse(
    fused: FusedEngine, program: Program, fades_over: int | None, decay_fades_over: int | None
) -> tuple[SparseEngine | None, str]:
    """(the engine for sparse rows as they lie or None, why none)."""
    from mbgd.step.fused.sparse_engine import SparseEngine
    from mbgd.step.fused.sparse_program import sparse_program

    found = sparse_program(program, fused.updater)
    if isinstance(found, str):
        return None, found
    engine = SparseEngine(
        found,
        fused.updater,
        rule=fused.rule,
        seed=fused.seed,
        dense=fused,
        fades_over=fades_over,
        decay_fades_over=decay_fades_over,
    )
    return engine, ""


def _program(
    model: nn.Module, source: Source, *, plan: Plan, updater: Updater, loss: Loss, output_shape: tuple[int, ...]
) -> Program | str:
    if plan.compile:
        return "compile=True was asked for"
    if plan.precision == "bf16":
        return "precision='bf16' was asked for"
    example = first_row(source)
    return make_program(model, loss=loss, optimizer=updater.optimizer, example=example, output_shape=output_shape)


def check_engine(model: nn.Module, now: str, then: str) -> None:
    """Refuse to go on with the other engine where dropout would be drawn anew: it is a pure function of the seed, but of
    each engine's own kind."""
    rates = [m.p for m in model.modules() if isinstance(m, nn.modules.dropout._DropoutNd)]
    if now != then and any(rates):
        raise PlanError(
            f"engine must stay {then!r} for a model with dropout, whose masks each engine draws its own way, got {now!r}; "
            f"resume with engine={then!r}"
        )
