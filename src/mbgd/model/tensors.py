"""Named tensors in, the bytes of a safetensors file out; and back, without running a line of what the file holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mbgd.errors import PlanError
from mbgd.model.file import not_tensors
from mbgd.store import announced


def tensor_bytes(tensors: Mapping[str, Tensor], *, metadata: dict[str, str] | None = None) -> bytes:
    """Every tensor with its name, dtype, shape and bits. Raises PlanError for a dtype that the format does not know."""
    held: dict[str, Tensor] = {}
    storages: set[tuple[torch.device, int]] = set()
    for name, tensor in tensors.items():
        whole = tensor.detach().to("cpu").contiguous()
        storage = (whole.device, whole.untyped_storage().data_ptr())
        held[name] = (
            whole.clone() if storage in storages else whole
        )  # tied tensors are written twice, each under its name
        storages.add(storage)
    try:
        return safetensors.torch.save(held, metadata=metadata)
    except (KeyError, ValueError, safetensors.SafetensorError) as error:
        kinds = ", ".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in held.values()}))
        raise PlanError(
            f"tensors must be dense and of a dtype that safetensors knows, got {kinds} ({error}); convert the module"
        ) from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file on the CPU; memory is bounded by the file's size, whatever its header claims.

    Raises SavedFileError, saying what the file is where that is easy to tell, and StorageError.
    """
    try:
        with announced(path, to="read"):
            return dict(safetensors.torch.load_file(path))
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise not_tensors(path, str(error)) from None
