"""Numbers in, whether all of them are finite out."""

from __future__ import annotations

from mbgd.compiled.kernel import kernel
from mbgd.step.fused.layout import Floats


@kernel
def all_finite(values: Floats) -> bool:
    """0 times a finite number is 0, and times any other NaN."""
    zero = values.dtype.type(0)
    total = zero
    for i in range(len(values)):
        total += values[i] * zero
    finite: bool = total == zero
    return finite
