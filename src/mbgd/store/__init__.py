"""Every write of the project: whole or absent, read back, in a folder that has one writer; each refusal one sentence."""

from __future__ import annotations

from mbgd.store.files import (
    LARGEST_JSON,
    TEMPORARY,
    append_bytes,
    append_line,
    file_digest,
    file_size,
    new_folder,
    read_bytes,
    read_json,
    read_sealed,
    remove_folder,
    sha256,
    sync,
    write_bytes,
    write_folder,
    write_json,
    write_sealed,
    writing,
)
from mbgd.store.lock import FolderLock, sweep
from mbgd.store.refusal import announced
from mbgd.store.sealed import DIGEST, Digest, digest_from, digest_of, finite, json_bytes, opened, seal, unseal
from mbgd.store.strict_json import parse_json

__all__ = [
    "DIGEST",
    "TEMPORARY",
    "Digest",
    "FolderLock",
    "LARGEST_JSON",
    "announced",
    "append_bytes",
    "append_line",
    "digest_from",
    "digest_of",
    "file_digest",
    "file_size",
    "finite",
    "json_bytes",
    "new_folder",
    "opened",
    "parse_json",
    "read_bytes",
    "read_json",
    "read_sealed",
    "remove_folder",
    "seal",
    "sha256",
    "sweep",
    "sync",
    "unseal",
    "write_bytes",
    "write_folder",
    "write_json",
    "write_sealed",
    "writing",
]
