"""The command `mbgd`: arguments in, an exit code out; every failure one line on stderr."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from types import FrameType

from mbgd.errors import MBGDError, did_you_mean

INTERRUPTED, TERMINATED = 130, 143
_terminated = False


def main(arguments: list[str] | None = None) -> None:
    """Run the command and leave with its exit code (0 done, 1 our fault, 2 usage, 3 data, 4 saved file, 5 storage,
    6 divergence, 130 and 143 interrupted and saved)."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """The exit code of one call."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        from mbgd.cli.app import app

        code = int(app(arguments, standalone_mode=False) or 0)
        return _stopped() if code == INTERRUPTED else code  # typer turns a KeyboardInterrupt into that number
    except MBGDError as error:
        return _say(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _stopped()
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # whoever read our output has gone: no second error
        return 0
    except Exception as error:
        if hasattr(error, "format_message"):
            return _say(_usage(error.format_message()), 2)
        return _our_fault()


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM is Ctrl-C with another exit code: training saves at its next step boundary."""
    global _terminated  # noqa: PLW0603  # a signal handler has no other way to say what came
    _terminated = True
    signal.raise_signal(signal.SIGINT)


def _stopped() -> int:
    code = TERMINATED if _terminated else INTERRUPTED
    return _say("interrupted; 'mbgd resume RUN' goes on with a run from where it was saved", code, word="stopped")


def _say(sentence: str, code: int, *, word: str = "error") -> int:
    line = " ".join(sentence.split())
    print(f"mbgd: {word}: {line}", file=sys.stderr)
    return code


def _usage(message: str) -> str:
    """The parser's sentence, with the right word where the option is known from elsewhere."""
    from mbgd.cli.options import option_names
    from mbgd.desk.plan import FOREIGN

    word = message.partition("--")[2].split(" ")[0].strip("'.,").split("=")[0]
    name = word.replace("-", "_")
    if "No such option" not in message:
        return f"{message.rstrip('.')}; see mbgd --help"
    if name in FOREIGN:
        return f"--{word} is not an option of mbgd; say --{FOREIGN[name].replace('_', '-')} instead"
    return f"--{word} is not an option of mbgd{did_you_mean(word, option_names()) or '; see mbgd --help'}"


def _our_fault() -> int:
    with tempfile.NamedTemporaryFile("w", prefix="mbgd-error-", suffix=".txt", delete=False) as file:
        traceback.print_exc(file=file)
    kind, error, _ = sys.exc_info()
    name = kind.__name__ if kind is not None else "error"
    return _say(f"an unexpected {name} ({error}); this is a fault of mbgd, its traceback is in {file.name}", 1)
