"""Count the labels that training did not know among the rows to predict, and warn of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mbgd.data.encode.categories import Unseen
from mbgd.data.encode.encoder import Encoder
from mbgd.data.table import Table

MANY = 0.2  # share of the cells that hold a label, from which new ones are told
FEWEST = 2  # cells, below which a new label is no surprise
FEWEST_OF_MANY = 10  # the same where some labels are known


def count_unseen(encoder: Encoder, table: Table, before: Mapping[str, Unseen] | None = None) -> dict[str, Unseen]:
    """By column, with those of the blocks before; columns whose rarer labels share codes know no label as new."""
    found: dict[str, Unseen] = {}
    for part in encoder.categories:
        if not part.shared:
            now, then = part.unseen(table), (before or {}).get(part.name, Unseen(0, 0, None))
            found[part.name] = Unseen(now.cells + then.cells, now.of + then.of, then.first or now.first)
    return found


def unseen_said(found: Mapping[str, Unseen]) -> Iterator[str]:
    """A sentence for each column in which no label is known, or more than a fifth of them are new."""
    for name, one in found.items():
        example = f"such as {one.first!r}"
        if one.cells == one.of >= FEWEST:
            yield (
                f"no label of column {name!r} is known from training ({one.of:,} cells, {example}): the model takes all of "
                "them for missing; are they spelt another way?"
            )
        elif one.of >= FEWEST_OF_MANY and one.cells > MANY * one.of:
            yield (
                f"{one.cells:,} of {one.of:,} labels of column {name!r} are not known from training ({example}), and are "
                "taken for missing"
            )
