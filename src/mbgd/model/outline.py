"""The tensors that an architecture has, by name and shape: worked out from what a file says of it, without building anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from mbgd.model.arrays import ACTIVATIONS
from mbgd.store.schema import Absent, Demand, Entries, Flag, Items, Real, Whole, Word

MOST_UNITS = 100_000_000  # units or codes: the square of more overflows what torch counts in
FURTHEST_EDGE = 1_000.0  # of a bend: asinh of the largest number is 711
SEVERAL = "several"  # models beside each other in an nn.ModuleList, for whoever takes their mean
FLOATING = ("F16", "BF16", "F32", "F64")
Shapes = dict[str, tuple[int, ...]]

_UNITS = Whole(1, MOST_UNITS)
_COMMON: dict[str, Demand] = {
    "n_outputs": _UNITS,
    "hidden_layer_sizes": Items(_UNITS),
    "activation": Word(tuple(ACTIVATIONS)),
    "dropout": Real(0.0, 1.0, below=True),
}
_EDGES = Items(Items(Real(-FURTHEST_EDGE, FURTHEST_EDGE), rising=True))
KINDS: dict[str, dict[str, Demand]] = {
    "mlp": {"n_inputs": _UNITS, **_COMMON},
    "scaled_mlp": {"n_inputs": _UNITS, **_COMMON},
    "table": {
        "n_numbers": Whole(0, MOST_UNITS),
        "cardinalities": Items(_UNITS),
        "one_hot_up_to": Whole(),
        "embedding_size": _UNITS,
        "edges": Absent(_EDGES),  # this and the next three: files of the first models lack them
        "number_size": Absent(_UNITS),
        "scaled": Absent(Flag()),
        "shared_members": Absent(_UNITS),
        **_COMMON,
    },
}
"""Kind of architecture -> what a file says of it, in that order."""


def outline(described: Mapping[str, Any], at: str = "architecture") -> Shapes:
    """Name -> shape of each tensor of an architecture. Raises ValueError, naming the entry, where it describes no model."""
    if described.get("kind") != SEVERAL:
        return _outline_one(described, at)
    models = described.get("models")
    if found := Items(Entries({}), least=1).fault(models, f"{at}.models"):
        raise ValueError(found)
    each = (_outline_one(one, f"{at}.models[{k}]") for k, one in enumerate(models or ()))
    return {f"{k}.{name}": shape for k, shapes in enumerate(each) for name, shape in shapes.items()}


def check_tensors(
    described: Mapping[str, Any],
    held: Mapping[str, tuple[int, ...]],
    types: Mapping[str, str],
    at: str = "architecture",
) -> None:
    """Raises ValueError unless the tensors of a file, by name their shapes and types, are those of its architecture: all of them,
    no other, of one floating type."""
    wanted = outline(described, at)
    for name in (*wanted, *held):
        if wanted.get(name) != held.get(name):
            theirs, ours = _shown(held.get(name)), _shown(wanted.get(name))
            raise ValueError(f"tensor {name[:80]!r} must be {ours} by its architecture, it is {theirs}")
    if (kinds := sorted({*types.values()})) and (len(kinds) > 1 or kinds[0] not in FLOATING):
        raise ValueError(f"its tensors must have one floating type, they have {', '.join(kinds)}")


def _outline_one(described: Mapping[str, Any], at: str) -> Shapes:
    kind = described.get("kind")
    if found := Word(tuple(KINDS)).fault(kind, f"{at}.kind"):
        raise ValueError(f"{found}, which a later mbgd may write")
    if found := Entries(KINDS[str(kind)]).fault(described, at):
        raise ValueError(found)
    shapes, width = _FRONTS[str(kind)](described, at)
    return shapes | dict(_layers(described, width))


def _none(described: Mapping[str, Any], at: str) -> tuple[Shapes, int]:
    return {}, described["n_inputs"]


def _scaling(described: Mapping[str, Any], at: str) -> tuple[Shapes, int]:
    n = described["n_inputs"]
    return {"center": (n,), "scale": (n,), "bound": (n,)}, n


def _front(described: Mapping[str, Any], at: str) -> tuple[Shapes, int]:
    """What a `TableModel` has before its layers, and the inputs of the first of them."""
    sizes, few, size = described["cardinalities"], described["one_hot_up_to"], described["embedding_size"]
    edges, n_numbers = described.get("edges", ()), described["n_numbers"]
    if edges and len(edges) != n_numbers:
        raise ValueError(f"{at}.edges must have an entry for each of the {n_numbers} numbers, got {len(edges)}")
    bent = [len(of_one) - 1 for of_one in edges if of_one]
    if 0 in bent:
        raise ValueError(f"{at}.edges must be two for each number that is embedded, at least, got one")
    embedded = [codes for codes in sizes if codes - 1 > few]
    shapes: Shapes = {f"embeddings.{k}": (codes, size) for k, codes in enumerate(embedded)}
    number_size = described.get("number_size", 3)
    if bent:
        shapes["number_embedding"] = (len(bent), max(bent), number_size)
    hot = sum(codes - 1 for codes in sizes if codes - 1 <= few)
    width = n_numbers + number_size * len(bent) + hot + size * len(embedded)
    if not width:
        raise ValueError(f"{at} must have at least one input, got no numbers and no categories")
    members, scaled = described.get("shared_members", 1), described.get("scaled", False)
    if members > 1 and not (scaled and described["hidden_layer_sizes"]):
        raise ValueError(
            f"{at}.shared_members must be 1 without layers to share and scales to differ by, got {members}"
        )
    if scaled:
        shapes["scale"] = (members, width) if members > 1 else (width,)
    return shapes, width


def _layers(described: Mapping[str, Any], width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Weight and bias of each layer; between two of them stand an activation and, where some is left out, dropout."""
    sizes = (width, *described["hidden_layer_sizes"], described["n_outputs"])
    apart, last = 3 if described["dropout"] else 2, len(sizes) - 2
    members = described.get("shared_members", 1)
    for k, (n_in, n_out) in enumerate(pairwise(sizes)):
        heads = (members,) if k == last and members > 1 else ()
        yield f"body.{k * apart}.weight", (*heads, n_out, n_in)
        yield f"body.{k * apart}.bias", (*heads, n_out)


_FRONTS: dict[str, Callable[[Mapping[str, Any], str], tuple[Shapes, int]]] = {
    "mlp": _none,
    "scaled_mlp": _scaling,
    "table": _front,
}


def _shown(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else f"of shape {shape}"
