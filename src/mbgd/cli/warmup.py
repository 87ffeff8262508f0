"""`mbgd warmup`: compiles ahead what the first training would compile, as when a container's image is built."""

from __future__ import annotations

from mbgd.cli.show import print_json
from mbgd.cli.streams import tell
from mbgd.compiled.news import Compiling, told_of_compiling
from mbgd.desk.stderr import say
from mbgd.desk.warm import DTYPES, warm


def _unsaid(number: str) -> None:
    """The JSON says how many were compiled."""


def warm_up(dtype: str | None, *, json: bool) -> None:
    """Say where the kernels are, how many were compiled, and the seconds."""
    with told_of_compiling(_unsaid if json else Compiling(say)):
        done = warm(tuple(DTYPES) if dtype is None else (dtype,))
    if json:
        print_json({**done._asdict(), "folder": str(done.folder)})
        return
    what = f"compiled {done.compiled} kernels" if done.compiled else "all kernels were compiled already"
    tell(f"{what}, {done.seconds:.1f} s, kept in {done.folder}")
    if done.why_temporary:
        tell(f"note: these are temporary files, since {done.why_temporary}")
