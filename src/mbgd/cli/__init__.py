"""The command `mbgd`: signals are handled before anything else is loaded, since loading takes longer than many a training."""

from __future__ import annotations

from mbgd import signals


def main(arguments: list[str] | None = None) -> None:
    """Run the command and leave with its exit code (0 done, 1 our fault, 2 usage, 3 data, 4 saved file, 5 storage,
    6 divergence, 128 and its number where a signal interrupted it)."""
    signals.install()
    from mbgd.cli.command import call

    call(arguments)


def run(arguments: list[str]) -> int:
    """The exit code of one call, in a process whose signals are its own."""
    from mbgd.cli.command import run

    return run(arguments)
