"""While something is loaded nothing is collected; afterwards the collector is as its owner had set it."""

from __future__ import annotations

import gc

import pytest

from mbgd.loading import uncollected


@pytest.mark.parametrize("on", [True, False])
def test_the_collector_is_held_inside_and_as_it_was_afterwards(on: bool) -> None:
    before = gc.isenabled()
    (gc.enable if on else gc.disable)()
    try:
        with pytest.raises(ZeroDivisionError), uncollected(), uncollected():
            assert not gc.isenabled()
            raise ZeroDivisionError
        assert gc.isenabled() is on
    finally:
        (gc.enable if before else gc.disable)()
