"""Every write of the project: whole or absent, read back, in a folder that has one writer; each refusal one sentence."""

from __future__ import annotations

from mbgd.store.files import (
    append_bytes,
    append_line,
    new_folder,
    read_bytes,
    read_json,
    remove_folder,
    sha256,
    sync,
    write_bytes,
    write_folder,
    write_json,
    writing,
)
from mbgd.store.lock import FolderLock, sweep
from mbgd.store.refusal import announced
from mbgd.store.sealed import finite, json_bytes, seal, unseal

__all__ = [
    "FolderLock",
    "announced",
    "append_bytes",
    "append_line",
    "finite",
    "json_bytes",
    "new_folder",
    "read_bytes",
    "read_json",
    "remove_folder",
    "seal",
    "sha256",
    "sweep",
    "sync",
    "unseal",
    "write_bytes",
    "write_folder",
    "write_json",
    "writing",
]
