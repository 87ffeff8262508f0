"""Write named tensors as the bytes of a safetensors file, and read them back without running a line of what it holds."""

from __future__ import annotations

from collections.abc import Mapping

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mbgd.errors import PlanError
from mbgd.model.header import Header, fill, reading

_TYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz, "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "U16": torch.uint16, "I16": torch.int16, "F16": torch.float16, "BF16": torch.bfloat16, "U32": torch.uint32,
    "I32": torch.int32, "F32": torch.float32, "U64": torch.uint64, "I64": torch.int64, "F64": torch.float64,
    "C64": torch.complex64,
}  # fmt: skip


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


def read_tensors(found: Header) -> dict[str, Tensor]:
    """The tensors of a safetensors file on the CPU; they take as much memory as they have bytes in it, whatever it claims.

    Raises SavedFileError and StorageError.
    """
    held: dict[str, Tensor] = {}
    with reading(found) as file:
        for name, place in found.tensors.items():
            held[name] = torch.empty(place.shape, dtype=_TYPES[place.dtype], device="cpu")
            if place.bytes:
                fill(held[name].reshape(-1).view(torch.uint8).numpy(), place, file)
    return held
