"""A signal in any phase ends the command with its code and one line: saved where training had begun, else nothing is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from command import LABEL, NUMBER, Command, Said, ended, start
from mbgd.cli import run
from mbgd.record.checkpoint import newest

SIGNALLED = Path(__file__).parent / "signalled.py"
HOW = (*NUMBER, "--epochs", "3", "--hidden-layer-sizes", "8", "--checkpoint-every", "5", "--quiet")
NOTHING = "interrupted before training began; nothing is left of it"
SAVED = "saved in r; 'mbgd resume r' goes on with it"
ANEW = "interrupted before the first checkpoint; 'mbgd resume r' begins it anew"
CODE = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGXCPU: 152}


def signalled(number: int, places: str, *words: object, **environment: str) -> Said:
    given = [sys.executable, str(SIGNALLED), str(int(number)), places, *map(str, words)]
    done = subprocess.run(
        given, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environment}
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def whole(tables: Path) -> bytes:
    """The model file of a run that nothing interrupted."""
    folder = tables / "whole by phases"
    assert run(["train", str(tables / "t.csv"), *HOW, "--out", str(folder)]) == 0
    return (folder / "model.safetensors").read_bytes()


def phases(*quick: str, **places: str) -> list[object]:
    """Each place as a test of its own, those that are not named `quick` in the slower tier."""
    return [
        pytest.param(place, id=name, marks=() if name in quick else pytest.mark.slow) for name, place in places.items()
    ]


def numbers(quick: signal.Signals) -> list[object]:
    """Each signal, those besides `quick` in the slower tier."""
    return [pytest.param(number, id=number.name, marks=() if number is quick else pytest.mark.slow) for number in CODE]


@pytest.mark.parametrize(
    "place",
    phases(
        "encoding",
        reading="mbgd.desk.opened:open_table",
        splitting="mbgd.desk.opened:split",
        encoding="mbgd.desk.table:learn_encoder",
        building="mbgd.desk.table_run:new_model",
        describing="mbgd.desk.tables:write_sealed",
        planning="mbgd.desk.tables:write_plan",
    ),
)
@pytest.mark.parametrize("number", numbers(signal.SIGINT))
def test_before_training_nothing_is_left(mbgd: Command, tables: Path, place: str, number: signal.Signals) -> None:
    said = signalled(number, place, "train", tables / "t.csv", *HOW, "--out", "r")
    assert said == Said(CODE[number], "", f"mbgd: stopped: {NOTHING}\n")
    assert os.listdir() == []


@pytest.mark.parametrize(
    "place",
    phases(
        "placing the model",
        training="mbgd.desk.train:_look@2",
        evaluating="mbgd.desk.train:score@2",
        saving="mbgd.record.checkpoint:tensor_bytes@2",
        scoring="mbgd.desk.table_run:baselines",
        **{
            "keeping the model": "mbgd.desk.predictor:save_model",
            "placing the model": "mbgd.model.saved:write_bytes",
            "telling of it": "mbgd.desk.table_run:write_card",
            "ending": "mbgd.desk.table_run:write_result",
        },
    ),
)
@pytest.mark.parametrize("number", numbers(signal.SIGTERM))
def test_from_training_on_it_is_saved_and_goes_on_to_the_same_bytes(
    mbgd: Command, tables: Path, whole: bytes, place: str, number: signal.Signals
) -> None:
    said = signalled(number, place, "train", tables / "t.csv", *HOW, "--out", "r")
    assert said == Said(CODE[number], "", f"mbgd: stopped: {SAVED}\n")
    assert not Path("r/result.json").exists()
    assert not list(Path("r").rglob(".tmp-*"))
    assert mbgd("resume", "r", "--quiet").code == 0
    assert Path("r/model.safetensors").read_bytes() == whole


@pytest.mark.slow
def test_before_the_first_steps_are_done_there_is_nothing_to_save(mbgd: Command, tables: Path, whole: bytes) -> None:
    said = signalled(signal.SIGTERM, "mbgd.desk.table_run:going", "train", tables / "t.csv", *HOW, "--out", "r")
    assert said == Said(143, "", f"mbgd: stopped: {ANEW}\n")
    assert newest(Path("r")) is None
    assert mbgd("resume", "r", "--quiet").code == 0
    assert Path("r/model.safetensors").read_bytes() == whole


@pytest.mark.parametrize("how", ["?", pytest.param("#", marks=pytest.mark.slow)])
def test_no_code_can_swallow_a_signal_or_keep_it_waiting(mbgd: Command, tables: Path, how: str) -> None:
    """It comes where exceptions are dropped, as in imports and destructors; or while compiled code runs for minutes."""
    place = f"mbgd.desk.table:learn_encoder{how}"
    said = signalled(signal.SIGTERM, place, "train", tables / "t.csv", *HOW, "--out", "r")
    assert said == Said(143, "", f"mbgd: stopped: {NOTHING}\n")
    assert os.listdir() == []


@pytest.mark.slow
def test_while_it_trains_none_is_swallowed_either(mbgd: Command, tables: Path, whole: bytes) -> None:
    said = signalled(signal.SIGHUP, "mbgd.desk.train:score@2?", "train", tables / "t.csv", *HOW, "--out", "r")
    assert said == Said(129, "", f"mbgd: stopped: {SAVED}\n")
    assert mbgd("resume", "r", "--quiet").code == 0
    assert Path("r/model.safetensors").read_bytes() == whole


@pytest.mark.slow
@pytest.mark.parametrize("number", CODE)
def test_two_signals_at_once_are_one(mbgd: Command, tables: Path, whole: bytes, number: signal.Signals) -> None:
    """As `timeout` sends them, to the process and to its group; and a closed terminal, whose shell passes them on."""
    places = "mbgd.desk.train:_look@2,mbgd.desk.train:_look@2!"
    said = signalled(number, places, "train", tables / "t.csv", *HOW, "--out", "r")
    assert said == Said(CODE[number], "", f"mbgd: stopped: {SAVED}\n")
    found = newest(Path("r"))
    assert found is not None
    assert found.checkpoint.step == 9
    assert mbgd("resume", "r", "--quiet").code == 0
    assert Path("r/model.safetensors").read_bytes() == whole


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGXCPU])
def test_what_a_system_sends_again_and_again_hastens_nothing(
    mbgd: Command, tables: Path, number: signal.Signals
) -> None:
    """A limit of processor time is told of every second from then on."""
    places = "mbgd.desk.train:_look@2,mbgd.record.checkpoint:tensor_bytes@2,mbgd.record.checkpoint:write_folder@2"
    said = signalled(number, places, "train", tables / "t.csv", *HOW, "--out", "r")
    assert said == Said(CODE[number], "", f"mbgd: stopped: {SAVED}\n")
    found = newest(Path("r"))
    assert found is not None
    assert found.checkpoint.step == 9


@pytest.mark.slow
def test_saved_is_said_where_there_is_a_checkpoint_alone(mbgd: Command, tables: Path) -> None:
    """A second signal gives up the first save."""
    how = HOW[: HOW.index("--checkpoint-every")]
    assert mbgd("train", tables / "t.csv", *how, "--quiet", "--out", "s").code == 0
    places = "mbgd.desk.train:_look@2,mbgd.record.checkpoint:tensor_bytes"
    said = signalled(signal.SIGINT, places, "train", tables / "t.csv", *how, "--quiet", "--out", "r")
    assert said == Said(130, "", f"mbgd: stopped: {ANEW}\n")
    assert newest(Path("r")) is None
    assert mbgd("resume", "r", "--quiet").code == 0
    assert Path("r/model.safetensors").read_bytes() == Path("s/model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_run_that_had_ended_is_not_said_to_go_on(mbgd: Command, tables: Path, whole: bytes) -> None:
    said = signalled(signal.SIGTERM, "mbgd.cli.train:print_run", "train", tables / "t.csv", *HOW, "--out", "r")
    assert said == Said(143, "", "mbgd: stopped: interrupted when r had ended; 'mbgd resume r' shows its scores\n")
    assert Path("r/model.safetensors").read_bytes() == whole
    assert json.loads(mbgd("resume", "r", "--json").out)["steps"] == 27


@pytest.mark.slow
def test_a_run_that_would_have_been_replaced_is_not_said_to_be_what_is_left(mbgd: Command, tables: Path) -> None:
    assert mbgd("train", tables / "t.csv", *HOW, "--out", "r").code == 0
    words = ("train", tables / "t.csv", *HOW, "--out", "r", "--force")
    said = signalled(signal.SIGTERM, "mbgd.desk.table:learn_encoder", *words)
    assert said == Said(143, "", f"mbgd: stopped: {NOTHING}\n")
    assert Path("r/result.json").exists()


@pytest.mark.parametrize(
    "second",
    [
        pytest.param("mbgd.record.checkpoint:tensor_bytes@2", marks=pytest.mark.slow),
        "mbgd.record.checkpoint:write_folder@2",
        pytest.param("mbgd.record.checkpoint:_rotate@2", marks=pytest.mark.slow),
    ],
)
def test_a_second_signal_ends_it_at_once_and_the_checkpoint_before_stays(
    mbgd: Command, tables: Path, whole: bytes, second: str
) -> None:
    """The first comes while the second interval is looked at, the second while the first is obeyed."""
    said = signalled(signal.SIGTERM, f"mbgd.desk.train:_look@2,{second}", "train", tables / "t.csv", *HOW, "--out", "r")
    assert (said.code, said.out) == (143, "")
    assert said.err == f"mbgd: stopped: {SAVED}\n"
    found = newest(Path("r"))
    assert found is not None
    assert found.checkpoint.step == 5 or "rotate" in second
    assert found.notices == ()
    assert mbgd("resume", "r", "--quiet").code == 0
    assert Path("r/model.safetensors").read_bytes() == whole


PREDICT = ("predict", "RUN", "DATA", "--out", "p.csv")
OTHERS = [
    ("mbgd.cli.predict:load_table", PREDICT),
    ("mbgd.desk.ensemble:columns_of", PREDICT),
    ("mbgd.cli.predict:blocks", PREDICT),
    ("mbgd.cli.predict:open_table", ("evaluate", "RUN", "DATA")),
    ("mbgd.cli.predict:scorer", ("evaluate", "RUN", "DATA")),
    ("mbgd.cli.explain:explain", ("explain", "RUN", "DATA", "--out", "p.csv")),
    ("mbgd.desk.explain:_importance", ("explain", "RUN", "DATA", "--out", "p.csv")),
    ("mbgd.cli.info:machine", ("info",)),
    ("mbgd.desk.table:learn_encoder", ("inspect", "DATA", *LABEL)),
    ("mbgd.cli.warmup:warm", ("warmup",)),
]


@pytest.mark.parametrize(
    ("place", "words"), [pytest.param(*case, marks=() if k == 2 else pytest.mark.slow) for k, case in enumerate(OTHERS)]
)
@pytest.mark.parametrize("number", numbers(signal.SIGTERM))
@pytest.mark.usefixtures("mbgd")  # a folder of its own
def test_what_trains_nothing_leaves_nothing(
    tables: Path, runs: Path, place: str, words: tuple[str, ...], number: signal.Signals
) -> None:
    named = {"RUN": runs / "number", "DATA": tables / "t.csv"}
    said = signalled(number, place, *(named.get(word, word) for word in words))
    assert said == Said(CODE[number], "", "mbgd: stopped: interrupted; nothing was written\n")
    assert os.listdir() == []


@pytest.mark.slow
@pytest.mark.parametrize("number", CODE)
def test_while_kernels_are_compiled(mbgd: Command, tables: Path, whole: bytes, number: signal.Signals) -> None:
    """In a real process, in a cache without kernels, once it says that it compiles; from outside."""
    words = ["train", tables / "t.csv", *HOW[:-1], "--out", "r"]
    process = start(*words, cwd=Path.cwd(), cache=Path.cwd() / "cache")
    try:
        assert process.stderr is not None
        assert "compiling kernels" in process.stderr.readline()
        process.send_signal(number)
        said = ended(process)
    finally:
        process.kill()
    assert said.code == CODE[number]
    assert said.err.splitlines()[-1].removeprefix("mbgd: stopped: ") in (SAVED, NOTHING, ANEW)
    shutil.rmtree("cache")
    if said.err.endswith(f"{NOTHING}\n"):
        assert os.listdir() == []
        return
    assert mbgd("resume", "r", "--quiet").code == 0
    assert Path("r/model.safetensors").read_bytes() == whole
