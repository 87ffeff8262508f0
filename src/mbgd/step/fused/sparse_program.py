"""A program and its optimizer in, the same program for sparse rows out: or why their batches have to be made dense."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from mbgd.step.fused import layout
from mbgd.step.fused.optimizers import rule_of
from mbgd.step.fused.program import Program
from mbgd.step.update import Updater


def sparse_program(program: Program, updater: Updater) -> Program | str:
    """A first layer whose weights are moved where an update's rows have entries, and nowhere else."""
    first, *rest = program.layers
    if first.kind != layout.DENSE:
        return "its first layer is not a Linear"
    why = why_all_move(program, updater)
    return why or replace(program, layers=(replace(first, inputs=0, kind=layout.SPARSE), *rest), n_numbers=0)


def why_all_move(program: Program, updater: Updater) -> str:
    """What moves weights of columns without entries; empty where nothing does, or where it can be kept apart."""
    groups = updater.optimizer.param_groups
    rules = {rule_of(group) for group in groups}
    if rules != {"sgd"}:
        name = type(updater.optimizer).__name__
        return (
            f"{name} moves every weight at every step"
            if "adam" in rules
            else f"{name} with momentum moves every weight"
        )
    if updater.clip_norm is not None:
        return "clip_norm needs the whole gradient"
    if updater.average is not None:
        return "ema_decay follows every weight at every step"
    held = {id(p) for group in groups for p in group["params"]}
    if any(id(p) not in held or not p.requires_grad for p in program.tensors()):
        return "some of its parameters are not trained"
    return ""


def weight_of(program: Program) -> nn.Parameter:
    """The first layer's, (H, columns)."""
    weight = program.layers[0].weight
    assert isinstance(weight, nn.Parameter)  # what a program is made of
    return weight
