"""Every write of the project: whole or absent, read back, in a folder that has one writer; each refusal one sentence."""

from __future__ import annotations

from mbgd.store.files import (
    LARGEST_JSON,
    append_bytes,
    append_line,
    file_digest,
    file_size,
    make_folder,
    new_folder,
    read_bytes,
    read_json,
    read_sealed,
    remove_folder,
    remove_from,
    sha256,
    sync,
    write_bytes,
    write_folder,
    write_json,
    write_sealed,
    writing,
)
from mbgd.store.lock import FolderLock, InUseError, reading, was_made_here
from mbgd.store.own_file import check_own_folder, check_own_tree, is_shared, own_file
from mbgd.store.refusal import announced, check_name
from mbgd.store.sealed import DIGEST, Digest, digest_from, digest_of, finite, json_bytes, opened, seal, unseal
from mbgd.store.strict_json import parse_json
from mbgd.store.temporary import TEMPORARY, shortened, sweep

__all__ = [
    "DIGEST",
    "TEMPORARY",
    "Digest",
    "FolderLock",
    "InUseError",
    "LARGEST_JSON",
    "announced",
    "append_bytes",
    "append_line",
    "check_name",
    "check_own_folder",
    "check_own_tree",
    "digest_from",
    "digest_of",
    "file_digest",
    "file_size",
    "finite",
    "is_shared",
    "json_bytes",
    "make_folder",
    "new_folder",
    "opened",
    "own_file",
    "parse_json",
    "read_bytes",
    "read_json",
    "read_sealed",
    "reading",
    "remove_folder",
    "remove_from",
    "seal",
    "sha256",
    "shortened",
    "sweep",
    "sync",
    "unseal",
    "was_made_here",
    "write_bytes",
    "write_folder",
    "write_json",
    "write_sealed",
    "writing",
]
