"""A module, loss and optimizer in, what the fused engine needs to know of them out: or the one sentence why it cannot.

It reads types exactly and never guesses: a subclass may compute anything, so it is left to autograd.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from mbgd.data.source import Rows, inputs_of
from mbgd.model.body import Heads
from mbgd.model.build import MLP
from mbgd.model.table import TableModel
from mbgd.step.fused import layout
from mbgd.step.fused.codes import ACTIVATIONS, NONE, Named, loss_named
from mbgd.step.fused.optimizers import no_form_of_optimizer
from mbgd.step.loss import Loss

DTYPES = (torch.float32, torch.float64)


@dataclass(frozen=True)
class Layer:
    """One product with what follows it; without `weight` only what follows."""

    inputs: int
    outputs: int
    weight: Tensor | None = None
    bias: Tensor | None = None
    activation: Named = NONE
    dropout: nn.Dropout | None = None
    kind: int = layout.DENSE
    copies: int = 1  # rows of it for each row of the data: one a member, where several share a body


@dataclass(frozen=True)
class Column:
    """A column at the front: its place among the codes, or numbers, and among the inputs; `table` where it is embedded,
    from entry `entry` on, and the `edges` of a number, (2, bins): left ends and 1 / widths."""

    code: int
    place: int
    width: int
    table: Tensor | None
    entry: int = 0
    edges: Tensor | None = None


@dataclass(frozen=True)
class Program:
    """The network as layers, and the loss by number. `n_numbers` is the width of x, `n_codes` that of the codes."""

    layers: tuple[Layer, ...]
    front: tuple[Column, ...]
    n_numbers: int
    n_codes: int
    loss: Named
    by_label: bool
    dtype: torch.dtype
    levels: tuple[float, ...] = ()  # of several quantiles, one output each

    def tensors(self) -> list[Tensor]:
        """Every parameter, in the order in which they are laid out."""
        tables = {id(column.table): column.table for column in self.front if column.table is not None}
        return [*tables.values()] + [t for layer in self.layers for t in (layer.weight, layer.bias) if t is not None]


class NoFormError(Exception):
    """Why there is no fused form; its text ends the sentence 'autograd: ...'."""


def make_program(
    model: nn.Module, *, loss: Loss, optimizer: torch.optim.Optimizer, example: Rows, output_shape: tuple[int, ...]
) -> Program | str:
    """The program of a training, or why there is none. `example` is at least one row as the chunks will bring it."""
    try:
        return _program(model, loss=loss, optimizer=optimizer, example=example, output_shape=output_shape)
    except NoFormError as reason:
        return str(reason)


def _program(
    model: nn.Module, *, loss: Loss, optimizer: torch.optim.Optimizer, example: Rows, output_shape: tuple[int, ...]
) -> Program:
    dtype = _dtype(model)
    reason = no_form_of_optimizer(optimizer)
    if reason:
        raise NoFormError(reason)
    named = loss_named(loss, output_shape)
    if named is None:
        raise NoFormError(f"loss {loss.name} has no fused form")
    if type(model) is TableModel:
        layers, front, n_numbers, n_codes = _table_model(model, example)
    else:
        width = _width(model, example)
        layers, front, n_numbers, n_codes = _stack(model, width, []), [], width, 0
    if layers[-1].outputs != (output_shape[0] if output_shape else 1) or len(output_shape) > 1:
        raise NoFormError(f"outputs of shape {output_shape} a row are not those of its last layer")
    _check_data(example, dtype)
    program = Program(tuple(layers), tuple(front), n_numbers, n_codes, *named, dtype, loss.levels)
    _check_tensors(model, program, dtype)
    return program


def _dtype(model: nn.Module) -> torch.dtype:
    parameters = list(model.parameters())
    if not parameters:
        raise NoFormError("the model has no parameters")
    kinds = {p.device.type for p in parameters}
    if kinds != {"cpu"}:
        raise NoFormError(f"the fused engine runs on the CPU alone, the model is on {', '.join(sorted(kinds))}")
    dtypes = {p.dtype for p in parameters}
    if len(dtypes) > 1 or not dtypes <= set(DTYPES):
        shown = ", ".join(sorted(str(d).removeprefix("torch.") for d in dtypes))
        raise NoFormError(f"all parameters must be float32 or all float64, they are {shown}")
    return dtypes.pop()


def _width(model: nn.Module, example: Rows) -> int:
    """Numbers a row of x; more than one dimension needs a Flatten in front."""
    if not isinstance(example.x, Tensor):
        raise NoFormError("the model takes several inputs")
    first = next((leaf for leaf in _leaves(model) if type(leaf) is not nn.Identity), None)
    if example.x.ndim < 2 or (example.x.ndim > 2 and type(first) is not nn.Flatten):
        raise NoFormError(f"rows of x have {example.x.ndim - 1} dimensions, one is needed")
    return example.x[0].numel()


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    """Layers in the order in which they are called."""
    _check_hooks(module)
    if type(module) is MLP:
        yield from _leaves(module.body)
    elif type(module) is nn.Sequential:
        for part in module:
            yield from _leaves(part)
    else:
        yield module


def multiplies_first(model: nn.Module) -> bool:
    """Whether the first that it does with x is the product of a plain Linear, which takes sparse rows as well as dense."""
    try:
        first = next((leaf for leaf in _leaves(model) if type(leaf) is not nn.Identity), None)
    except NoFormError:
        return False
    return type(first) is nn.Linear


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def _check_hooks(module: nn.Module) -> None:
    name = type(module).__name__
    if any(getattr(module, hooks, None) for hooks in _HOOKS):
        raise NoFormError(f"{name} has hooks")
    if "forward" in vars(module):
        raise NoFormError(f"{name} has a forward of its own")
    if any(getattr(nn.modules.module, f"_global{hooks}", None) for hooks in _HOOKS):
        raise NoFormError("hooks on all modules are set")


def _stack(model: nn.Module, width: int, layers: list[Layer]) -> list[Layer]:
    """Add the layers of a stack; what follows a product is joined to it."""
    seen: set[int] = set()
    for leaf in _leaves(model):
        if id(leaf) in seen and any(True for _ in leaf.parameters()):
            raise NoFormError(f"{type(leaf).__name__} is used twice")
        seen.add(id(leaf))
        outputs = layers[-1].outputs if layers else width
        _add(leaf, outputs, layers)
    if not layers:
        raise NoFormError("the model has no layers")
    return layers


def _add(leaf: nn.Module, width: int, layers: list[Layer]) -> None:
    kind = type(leaf)
    last = layers[-1] if layers else None
    if isinstance(leaf, nn.Linear) and kind is nn.Linear:
        if leaf.in_features != width:
            raise NoFormError(f"Linear takes {leaf.in_features} inputs, it gets {width}")
        layers.append(Layer(width, leaf.out_features, leaf.weight, leaf.bias))
    elif isinstance(leaf, nn.Dropout) and kind is nn.Dropout:
        if last is None or last.dropout is not None or last.kind in (layout.COLUMNS, layout.SCALE):
            last = Layer(width, width, kind=layout.PLAIN)
            layers.append(last)
        layers[-1] = replace(last, dropout=leaf)
    elif isinstance(leaf, nn.Flatten) and kind is nn.Flatten:
        if (leaf.start_dim, leaf.end_dim) != (1, -1):
            raise NoFormError(f"Flatten must be over all dimensions of a row, it is {leaf}")
    elif kind in ACTIVATIONS:
        found: Named | None = ACTIVATIONS[kind](leaf)
        if found is None:
            raise NoFormError(f"{leaf} has no fused form")
        if (
            last is None
            or last.activation != NONE
            or last.dropout is not None
            or last.kind in (layout.COLUMNS, layout.SCALE)
        ):
            last = Layer(width, width, kind=layout.PLAIN)
            layers.append(last)
        layers[-1] = replace(last, activation=found)
    elif kind is not nn.Identity:
        own = "a module of its own kind" if not kind.__module__.startswith("torch.") else "no layer with a fused form"
        raise NoFormError(f"{kind.__name__} is {own}")


def _table_model(model: TableModel, example: Rows) -> tuple[list[Layer], list[Column], int, int]:
    _check_hooks(model)
    inputs = inputs_of(example.x)
    if isinstance(example.x, dict) or len(inputs) != 2 or inputs[1].dtype != torch.int64:
        raise NoFormError("a table model takes numbers and int64 codes, in a tuple")
    front, place, tables = _bent(model), model.n_numbers, iter(model.embeddings)
    place += sum(column.width for column in front)
    sizes = list(enumerate(model.cardinalities))
    for code, size in sizes:
        if size - 1 <= model.one_hot_up_to:
            front.append(Column(code, place, size - 1, None))
            place += size - 1
    for code, size in sizes:
        if size - 1 > model.one_hot_up_to:
            front.append(Column(code, place, model.embedding_size, next(tables)))
            place += model.embedding_size
    first = [Layer(place, place, kind=layout.COLUMNS)] if front else []
    if model.scaled:
        first.append(Layer(place, place, model.scale, kind=layout.SCALE))
    layers = (_stack if model.shared_members == 1 else _members)(model.body, place, first)
    return layers, front, model.n_numbers, len(model.cardinalities)


def _members(body: nn.Module, width: int, first: list[Layer]) -> list[Layer]:
    """Add the layers that members share, and the last one of each; from the scales on there is a row for each member."""
    *shared, heads = body.children()
    if type(heads) is not Heads:
        raise NoFormError(f"the last layer of its members is a {type(heads).__name__}")
    _check_hooks(body)
    _check_hooks(heads)
    layers = _stack(nn.Sequential(*shared), width, first)
    layers.append(Layer(heads.in_features, heads.weight.shape[1], heads.weight, heads.bias, kind=layout.HEADS))
    members = len(heads.weight)
    return [layer if layer.kind == layout.COLUMNS else replace(layer, copies=members) for layer in layers]


def _bent(model: TableModel) -> list[Column]:
    """The numbers that are embedded."""
    size, columns = model.number_size, model.bent.tolist()
    return [
        Column(
            number,
            model.n_numbers + e * size,
            size,
            model.number_embedding,
            entry=e * model.number_embedding[0].numel(),
            edges=torch.stack([model.left[e], model.per_bin[e]])[:, : len(model.edges[number]) - 1],
        )
        for e, number in enumerate(columns)
    ]


def _check_data(example: Rows, dtype: torch.dtype) -> None:
    for leaf in example.leaves():
        if leaf.device.type != "cpu":
            raise NoFormError(f"the fused engine runs on the CPU alone, the rows are on {leaf.device.type}")
    x = inputs_of(example.x)[0]
    if x.dtype != dtype:
        raise NoFormError(f"x and the parameters must have one dtype, x is {str(x.dtype).removeprefix('torch.')}")
    if x.requires_grad:
        raise NoFormError("x requires a gradient")


def _check_tensors(model: nn.Module, program: Program, dtype: torch.dtype) -> None:
    tensors = program.tensors()
    if {id(t) for t in tensors} != {id(p) for p in model.parameters()}:
        raise NoFormError("some parameters belong to none of its layers")
    spans = []
    for tensor in tensors:
        if type(tensor) is not nn.Parameter:
            raise NoFormError(f"parameters must be plain ones, one is a {type(tensor).__name__}")
        if tensor._backward_hooks or getattr(tensor, "_post_accumulate_grad_hooks", None):
            raise NoFormError("a parameter has hooks")
        storage = tensor.untyped_storage()
        spans.append((tensor.data_ptr(), tensor.data_ptr() + _extent(tensor), storage))
    spans.sort(key=lambda span: span[0])
    if any(first[1] > second[0] for first, second in pairwise(spans)):
        raise NoFormError("parameters share memory")


def _extent(tensor: Tensor) -> int:
    """Bytes from its first to past its last number."""
    if not tensor.numel():
        return 0
    last: int = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    return (last + 1) * tensor.element_size()
