"""A module with its facts in, one safetensors file out; and back, every byte checked and no code run."""

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

from mbgd.errors import PlanError, SavedFileError, taken_at_its_word
from mbgd.model.build import SEVERAL, architecture, build
from mbgd.model.tensors import not_tensors, read_tensors, tensor_bytes
from mbgd.store import announced, file_size, finite, write_bytes

FORMAT, OF_ONE = 2, 1  # the first holds several models, and is written where there are several
FILE_NAME = "model.safetensors"
_BLANK = "0" * 64  # stands for the digest while the digest is taken
_BLOCK = 1 << 20
_LARGEST_HEADER = 100_000_000  # bytes, the format's own bound: JSON takes several times as many when it is read


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
        "sha256": _BLANK,
        "format": FORMAT if described is not None and described["kind"] == SEVERAL else OF_ONE,
        "versions": _versions(),
        "architecture": described,
        "facts": finite(facts),
    }
    data = tensor_bytes(held, metadata={"mbgd": json.dumps(written, ensure_ascii=False)})
    digest = hashlib.sha256(data).hexdigest().encode()
    write_bytes(
        path, data.replace(_BLANK.encode(), digest, 1)
    )  # the first: metadata stand first, the digest first in them


def load_model(path: Path) -> SavedModel:
    """The model at `path`, a file or a folder that holds model.safetensors.

    Every byte is checked against the SHA-256 in the file; nothing in it is executed. Raises SavedFileError.
    """
    path = path / FILE_NAME if path.is_dir() else path
    if not path.exists():
        raise SavedFileError(f"model file must exist, got {path}; check the path")
    header = _header(path)
    try:
        written = json.loads(json.loads(header)["__metadata__"]["mbgd"])
        digest, number = str(written["sha256"]), int(written["format"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise _foreign(path, header) from None
    if _digest(path, header, blank=digest) != digest:
        raise SavedFileError(f"{path} is damaged: its SHA-256 is not the one in it; take another copy or train again")
    if number > FORMAT:
        with taken_at_its_word(path):
            wrote = written["versions"]["mbgd"]
        raise SavedFileError(f"{path} has format {number}, this MBGD reads {FORMAT}; install mbgd {wrote} or later")
    with taken_at_its_word(path):
        facts, described, versions = (dict(written[name] or {}) for name in ("facts", "architecture", "versions"))
    return SavedModel(path, read_tensors(path), facts, described or None, versions)


def restore(saved: SavedModel) -> nn.Module:
    """The module of a saved model of ours, in eval mode. Raises SavedFileError for weights of a user's own module."""
    if saved.architecture is None:
        raise SavedFileError(
            f"{saved.path} holds the weights of a module of your own; make that module and call load_into(path, module)"
        )
    _check_claims(saved)
    with torch.device("meta"):  # shapes first: memory is taken for those alone that the file holds
        outline = build(saved.architecture)
    _check_same(saved, outline)
    module = build(saved.architecture)
    module.to(next(iter(saved.tensors.values())).dtype)
    module.load_state_dict(saved.tensors)
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


def _check_claims(saved: SavedModel) -> None:
    """Every input and unit of an architecture has at least one weight, so there are no more of them than the file holds."""
    held = sum(tensor.numel() for tensor in saved.tensors.values())
    described = saved.architecture or {}
    try:
        claimed = sum(map(_claimed, described["models"] if described.get("kind") == SEVERAL else [described]))
    except (KeyError, TypeError, AttributeError):
        claimed = held + 1
    if not 0 < claimed <= held:
        raise SavedFileError(f"{saved.path} describes a model larger than its weights; the file is damaged")


def _claimed(described: Mapping[str, Any]) -> int:
    inputs = [described.get("n_inputs", 0), described.get("n_numbers", 0)]
    inputs += [codes - 1 for codes in described.get("cardinalities", ())]
    return int(sum(inputs) + sum(described["hidden_layer_sizes"]) + described["n_outputs"])


def _shown(value: object) -> str:
    if not isinstance(value, Tensor):
        return "absent" if value is None else f"a {type(value).__name__}"
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"


def _header(path: Path) -> bytes:
    """The JSON at the start of the file; never more than the file itself."""
    with announced(path, to="read"):
        size = file_size(path)
    with announced(path, to="read"), path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise not_tensors(path, f"it has {size} bytes, fewer than its header says")
        if length > _LARGEST_HEADER:
            raise not_tensors(path, f"its header has {length:,} bytes, at most {_LARGEST_HEADER:,} are one")
        return file.read(length)


def _foreign(path: Path, header: bytes) -> SavedFileError:
    if header[:1] != b"{":
        return not_tensors(path, "it has no readable header")
    return SavedFileError(
        f"{path} must be a model file of MBGD, its header does not say so; it is damaged or another program's"
    )


def _digest(path: Path, header: bytes, *, blank: str) -> str:
    """SHA-256 of the whole file, its own digest read as zeros, in memory of fixed size."""
    running = hashlib.sha256()
    with announced(path, to="read"), path.open("rb") as file:
        running.update(file.read(8))
        running.update(header.replace(blank.encode(), _BLANK.encode(), 1))
        file.seek(8 + len(header))
        while block := file.read(_BLOCK):
            running.update(block)
    return running.hexdigest()


def _versions() -> dict[str, str]:
    try:
        own = version("mbgd")
    except PackageNotFoundError:
        own = "unknown"
    return {"mbgd": own, "torch": torch.__version__, "python": platform.python_version()}
