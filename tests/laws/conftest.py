"""What the laws share: shuffles by kernels alone, where thousands of short ones are drawn."""

from __future__ import annotations

import pytest

import mbgd.data.shuffle


@pytest.fixture
def compiled_shuffles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The orders are those of the plain form, which has a law of its own, and come in a fraction of its time."""
    monkeypatch.setattr(mbgd.data.shuffle, "COMPILED_ROWS", 0)
