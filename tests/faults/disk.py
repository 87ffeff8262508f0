"""A disk in memory that is told of each call of the store, and what power loss after any of them may leave, written to a folder."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mbgd.desk import recorder
from mbgd.store import files

LEFT = ("kept", "dropped", "truncated", "zeroed")  # what becomes of what was not synced


@dataclass
class File:
    """`durable` is what was synced of it."""

    data: bytes = b""
    durable: bytes = b""

    def left(self, how: str) -> bytes:
        if how == "kept" or self.data == self.durable:
            return self.data
        if how == "dropped":
            return self.durable
        new = self.data[len(self.durable) :]
        if how == "truncated":
            return self.durable + new[: len(new) // 2]
        return self.durable + bytes(len(new))


@dataclass
class Folder:
    """`durable` is what its synced entries were."""

    entries: dict[str, Any] = field(default_factory=dict)
    durable: dict[str, Any] = field(default_factory=dict)

    def left(self, how: str) -> dict[str, Any]:
        return self.durable if how == "dropped" else self.entries


class Disk:
    """Records the calls that the store makes below `root`, and plays any number of them back."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root, self.calls = root, []  # type: ignore[var-annotated]  # tuples of a name and what it was given
        self._lock = threading.Lock()
        for room, name, told in (
            (files, "_write_all", lambda file, data: ("write", Path(file.name), bytes(data))),
            (files, "_sync", lambda path: ("sync", Path(path))),
            (files, "_sync_folder", lambda path: ("sync folder", Path(path))),
            (os, "replace", lambda a, b: ("rename", Path(a), Path(b))),
            (os, "rename", lambda a, b: ("rename", Path(a), Path(b))),
            (os, "mkdir", lambda path, *_, **__: ("mkdir", Path(path))),
            (recorder.Recorder, "_tell", lambda _, saved: ("said", saved.step if saved.failure is None else -1)),
        ):
            patch.setattr(room, name, self._told(getattr(room, name), told))
        patch.setattr(shutil, "rmtree", self._told(shutil.rmtree, lambda path, **_: ("remove", Path(path))))

    def _told(self, real: Callable[..., Any], told: Callable[..., tuple[Any, ...]]) -> Callable[..., Any]:
        def call(*given: Any, **how: Any) -> Any:
            with self._lock:
                done = real(*given, **how)
                entry = told(*given, **how)
                if not isinstance(entry[1], Path) or self.root in entry[1].parents or entry[1] == self.root:
                    self.calls.append(entry)
                return done

        return call

    def after(self, n_calls: int) -> tuple[Folder, int]:
        """The disk after the first calls, and the last step that was announced by then; -1 for none."""
        top, said = Folder(), -1
        for name, *given in self.calls[:n_calls]:
            if name == "said":
                said = max(said, given[0])
            else:
                self._play(top, name, *given)
        return top, said

    def _play(self, top: Folder, name: str, path: Path, more: Any = None) -> None:
        folder, last = self._place(top, path)
        if name == "write":
            found = folder.entries.setdefault(last, File())
            found.data += more
        elif name == "mkdir":
            folder.entries.setdefault(last, Folder())
        elif name == "remove":
            folder.entries.pop(last, None)
        elif name == "rename":
            to, new = self._place(top, more)
            to.entries[new] = folder.entries.pop(last)
        elif name == "sync":
            found = folder.entries[last]
            found.durable = found.data
        else:
            synced = top if path == self.root else folder.entries[last]
            synced.durable = dict(synced.entries)

    def _place(self, top: Folder, path: Path) -> tuple[Folder, str]:
        *between, last = path.relative_to(self.root).parts or ("",)
        folder = top
        for part in between:
            folder = folder.entries[part]
        return folder, last


def write_out(folder: Folder, path: Path, how: str) -> None:
    """What is left of a folder."""
    path.mkdir(parents=True)
    for name, entry in folder.left(how).items():
        if isinstance(entry, Folder):
            write_out(entry, path / name, how)
        else:
            (path / name).write_bytes(entry.left(how))
