"""Every entry that a file is checked for stands in docs/formats.md, by its name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mbgd.data import manifest
from mbgd.data.encode import saved
from mbgd.desk import ended, folder, model_facts, standing
from mbgd.model import file, header, outline
from mbgd.record import checkpoint, history
from mbgd.step import saved_state
from mbgd.store import DIGEST
from mbgd.store.schema import Absent, Entries, Items, Maybe, Named, OneOf, Row

PAGE = (Path(__file__).parent.parent / "docs" / "formats.md").read_text(encoding="utf-8")
SCHEMAS: dict[str, Any] = {
    "digest": DIGEST,
    "tensor": header._TENSOR,
    "model": [file._MARK, file._SCHEMA],
    "architecture": [Entries(names) for names in outline.KINDS.values()],
    "encoder": [saved._ENCODER, saved._FACT, *saved._PARTS.values()],
    "target": saved._TARGET,
    "facts": [model_facts._KIND, model_facts._OF_ONE, model_facts._OF_SEVERAL],
    "plan": folder._SCHEMA,
    "manifest": manifest._SCHEMA,
    "result": ended._SCHEMA,
    "checkpoint": [checkpoint._SCHEMA, standing._FACTS, saved_state.SCHEMA, saved_state.GENERATORS],
    "history": history._RECORD,
}


def names(demand: Any) -> Iterator[str]:
    """Of all entries of a schema, and of those within."""
    if isinstance(demand, Entries):
        for name, inner in demand.inner.items():
            yield name
            yield from names(inner)
    elif isinstance(demand, (list, tuple)):
        for one in demand:
            yield from names(one)
    elif isinstance(demand, (Absent, Items, Maybe, Named, OneOf, Row)):
        yield from names(demand.inner)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_entry_is_described(kind: str) -> None:
    missing = {name for name in names(SCHEMAS[kind]) if f'"{name}"' not in PAGE and f"`{name}`" not in PAGE}
    assert not missing, f"docs/formats.md says nothing of {sorted(missing)}"
