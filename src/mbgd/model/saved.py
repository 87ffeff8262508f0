"""Save a module with its facts as one safetensors file, and load it again, every byte checked and no code run."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mbgd.errors import PlanError, SavedFileError
from mbgd.model.build import architecture, build
from mbgd.model.file import BLANK, FORMAT, OF_ONE, Described, describe
from mbgd.model.outline import SEVERAL
from mbgd.model.tensors import read_tensors, tensor_bytes
from mbgd.store import finite, write_bytes


@dataclass(frozen=True)
class SavedModel:
    """What a model file holds: `architecture` is None where the weights are those of a user's own module."""

    path: Path
    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    architecture: dict[str, Any] | None
    versions: dict[str, str]


def save_model(path: Path, module: nn.Module, *, facts: Mapping[str, object]) -> None:
    """Write the module's weights and persistent buffers with `facts` (JSON: encoder, target, loss, scores) to `path`.

    A float in `facts` that is not finite becomes null. Raises StorageError, PlanError where the module holds other
    than tensors.
    """
    module = getattr(module, "_orig_mod", module)  # what torch.compile has wrapped
    held = module.state_dict()
    for name, value in held.items():
        if not isinstance(value, Tensor):
            raise PlanError(f"module must hold tensors alone to be saved, got {name!r} of type {type(value).__name__}")
    described = architecture(module)
    written = {
        "sha256": BLANK,
        "format": FORMAT if described is not None and described["kind"] == SEVERAL else OF_ONE,
        "versions": _versions(),
        "architecture": described,
        "facts": finite(facts),
    }
    data = tensor_bytes(held, metadata={"mbgd": json.dumps(written, ensure_ascii=False)})
    digest = hashlib.sha256(data).hexdigest().encode()
    write_bytes(
        path, data.replace(BLANK.encode(), digest, 1)
    )  # the first: metadata stand first, the digest first in them


def load_model(path: Path) -> SavedModel:
    """The model at `path`, a file or a folder that holds model.safetensors.

    Every byte is checked against the SHA-256 in the file; nothing in it is executed. Raises SavedFileError.
    """
    return with_tensors(describe(path))


def with_tensors(said: Described) -> SavedModel:
    """`load_model` of a file whose header has been read already."""
    return SavedModel(said.path, read_tensors(said.header), said.facts, said.architecture, said.versions)


def restore(saved: SavedModel) -> nn.Module:
    """The module of a saved model of ours, in eval mode. Raises SavedFileError for weights of a user's own module."""
    if saved.architecture is None:
        raise SavedFileError(
            f"{saved.path} holds the weights of a module of your own; make that module and call load_into(path, module)"
        )
    module = build(saved.architecture, seed=None).to(next(iter(saved.tensors.values())).dtype)
    module.load_state_dict(saved.tensors, assign=True)  # its own memory: a copy would take as much again
    return module.eval()


def load_into(path: Path, module: nn.Module) -> SavedModel:
    """Put saved weights into a module of the same tensors, in place, and return what else the file holds.

    Raises SavedFileError naming the first tensor that is missing, left over, or of another shape or dtype; the module
    is then as before.
    """
    saved = load_model(path)
    put_into(saved, module)
    return saved


def put_into(saved: SavedModel, module: nn.Module) -> None:
    """`load_into` of a file that has been read already."""
    module = getattr(module, "_orig_mod", module)
    _check_same(saved, module, dtypes=True)
    module.load_state_dict(saved.tensors)


def _check_same(saved: SavedModel, module: nn.Module, *, dtypes: bool = False) -> None:
    wanted = module.state_dict()
    for name in (*wanted, *saved.tensors):
        theirs, ours = saved.tensors.get(name), wanted.get(name)
        if theirs is None or ours is None or theirs.shape != ours.shape or (dtypes and theirs.dtype != ours.dtype):
            raise SavedFileError(
                f"{saved.path} must hold the tensors of the module: {name!r} is {_shown(theirs)} in the file and "
                f"{_shown(ours)} in the module; make the module as it was when saved"
            )


def _shown(value: object) -> str:
    if not isinstance(value, Tensor):
        return "absent" if value is None else f"a {type(value).__name__}"
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"


def _versions() -> dict[str, str]:
    try:
        own = version("mbgd")
    except PackageNotFoundError:
        own = "unknown"
    return {"mbgd": own, "torch": torch.__version__, "python": platform.python_version()}
