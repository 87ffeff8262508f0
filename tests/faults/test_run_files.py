"""Row D: a changed byte anywhere in plan, data manifest, history or result of a run is found by verify and stops a resume."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import mbgd
from command import table
from mbgd.cli import run as command
from mbgd.desk.several import ModelTrained
from mbgd.desk.table_plan import table_plan
from mbgd.desk.tables import table_fitting
from mbgd.desk.verify import failed
from mbgd.errors import MBGDError, SavedFileError
from mbgd.record.checkpoint import newest
from mbgd.store import json_bytes, opened, seal, unseal
from short_runs import outcome

WORDS: Any = {"target": "y", "epochs": 4, "dropout": 0.2, "checkpoint_every": 3, "drop": ("key", "when")}
SEVERAL: Any = {**WORDS, "members": 2, "epochs": 2}
NAMES = ("plan.json", "manifest.json", "history.jsonl", "result.json", "models/1/history.jsonl", "models/1/result.json")
FILES = {
    "finished": NAMES[:4],
    "stopped": NAMES[:3],
    "several, stopped in the second": (*NAMES[:2], *NAMES[4:]),
}
QUICK = 25  # bytes of each file


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each kind of run, and `several`, which is what the last one ends as."""
    folder = tmp_path_factory.mktemp("runs")
    data = folder / "t.csv"
    table().to_csv(data, index=False)
    mbgd.fit_table(data, out=folder / "finished", **WORDS)
    mbgd.fit_table(data, out=folder / "several", **SEVERAL)
    flow = table_fitting(data, plan=table_plan({**WORDS}), out=folder / "stopped")
    while next(flow).progress.steps_done < 18:  # type: ignore[union-attr]  # one model: looks alone
        pass
    flow.close()
    flow = table_fitting(data, plan=table_plan({**SEVERAL}), out=folder / "several, stopped in the second")
    while not isinstance(next(flow), ModelTrained):
        pass
    next(flow)
    flow.close()
    return folder


def places(path: Path, share: str) -> list[tuple[int, int]]:
    """(byte, bit) to flip: one bit of each byte, or of some."""
    chance, size = random.Random(path.name), path.stat().st_size
    every = [(at, chance.randrange(8)) for at in range(size)]
    return every if share == "all" else sorted(chance.sample(every, min(QUICK, size)))


def flipped(whole: bytes, at: int, bit: int) -> bytes:
    return whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]


def means_the_same(path: Path, whole: bytes, now: bytes) -> bool:
    """JSON of the same values; or lines of steps that a resume makes again, since no checkpoint has them."""
    if path.suffix == ".jsonl":
        found = newest(path.parent)
        if found is None or (path.parent / "result.json").exists():
            return False
        lines = whole.splitlines(keepends=True)
        led_there = [line for line in lines if json.loads(line)["step"] <= found.checkpoint.step]
        assert len(led_there) < len(lines)
        return now.startswith(b"".join(led_there))
    try:
        return repr(json.loads(now)) == repr(json.loads(whole))
    except ValueError:
        return False


TIERS = ["some", pytest.param("all", marks=pytest.mark.slow)]


@pytest.mark.parametrize("share", TIERS)
@pytest.mark.parametrize("kind", FILES)
def test_verify_names_the_file_with_a_changed_byte(kind: str, share: str, runs: Path, tmp_path: Path) -> None:
    run = shutil.copytree(runs / kind, tmp_path / "run")
    held = 0
    for name in FILES[kind]:
        path = run / name
        whole = path.read_bytes()
        for at, bit in places(path, share):
            now = flipped(whole, at, bit)
            if means_the_same(path, whole, now):
                held += path.suffix == ".json"  # a digit that no float tells apart, a capital E
                continue
            path.write_bytes(now)
            try:
                error: MBGDError | None = failed(mbgd.verify(run))
            except MBGDError as raised:
                error = raised
            assert isinstance(error, SavedFileError), (name, at, bit)
            assert error.exit_code == 4
            assert str(path) in str(error), (name, at, bit)
            assert "\n" not in str(error)
        path.write_bytes(whole)
    assert not mbgd.verify(run).wrong
    assert held < 20


@pytest.mark.parametrize("share", TIERS)
@pytest.mark.parametrize("kind", list(FILES)[1:])
def test_a_resume_is_refused_or_comes_to_the_same_bits(kind: str, share: str, runs: Path, tmp_path: Path) -> None:
    expected = outcome(runs / ("finished" if kind == "stopped" else "several"), checkpoint=False)
    for name in FILES[kind]:
        whole = (runs / kind / name).read_bytes()
        went_on = 0
        for at, bit in places(runs / kind / name, share):
            run = shutil.copytree(runs / kind, tmp_path / "run")
            now = flipped(whole, at, bit)
            (run / name).write_bytes(now)
            same = means_the_same(run / name, whole, now)
            if same and went_on >= 3:  # each of them trains to the end
                shutil.rmtree(run)
                continue
            if same:
                mbgd.resume(run)
                assert outcome(run, checkpoint=False) == expected, (name, at, bit)
                assert not mbgd.verify(run).wrong
                went_on += 1
            else:
                with pytest.raises(SavedFileError, match=re.escape(str(run / name))):
                    mbgd.resume(run)
            shutil.rmtree(run)


def test_a_history_with_a_changed_number_is_refused_and_gone_on_without(runs: Path, tmp_path: Path) -> None:
    """A whole JSON line that says another loss; removed, as the refusal offers, its lines are lost and said to be."""
    run = shutil.copytree(runs / "stopped", tmp_path / "run")
    path = run / "history.jsonl"
    first, *others = path.read_text().splitlines(keepends=True)
    path.write_text("".join([json.dumps({**json.loads(first), "loss": 0.25}) + "\n", *others]))
    assert command(["verify", str(run)]) == 4
    with pytest.raises(SavedFileError, match="a line of them was changed since; restore it from a copy, or remove it"):
        mbgd.resume(run)
    path.unlink()
    wrong = mbgd.verify(run).wrong
    assert wrong == (f"{path} is missing, checkpoints say that there was one; restore it from a copy",)
    done = mbgd.resume(run)
    assert any("is missing: its lines up to step 15 are lost" in notice for notice in done.notices)
    assert done.history["step"][0] > 15
    assert (run / "model.safetensors").read_bytes() == (runs / "finished" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("kind", ["finished", "stopped"])
def test_files_of_a_version_without_checksums_are_read(kind: str, runs: Path, tmp_path: Path) -> None:
    run = shutil.copytree(runs / kind, tmp_path / "run")
    for path in run.glob("*.json"):
        said = opened(json.loads(path.read_text()))[0]
        if path.name == "result.json":
            del said["files"]
        path.write_bytes(json_bytes(said))
    for path in run.glob("checkpoints/*/manifest.json"):
        manifest = unseal(path.read_bytes())
        del manifest["history"]
        path.write_bytes(seal(manifest))
    found = mbgd.verify(run)
    assert (found.wrong, found.unseen) == ((), ())
    n_files = 3 if kind == "finished" else 2
    assert sum("of a version that wrote no checksum" in line for line in found.held) == n_files
    if kind == "stopped":
        mbgd.resume(run)
        assert outcome(run, checkpoint=False) == outcome(runs / "finished", checkpoint=False)


def test_a_plan_to_repeat_may_be_edited_and_a_run_may_not(
    runs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(runs / "stopped", tmp_path / "run")
    plan = run / "plan.json"
    plan.write_text(plan.read_text().replace('"epochs": 4', '"epochs": 1'))
    words = ["train", str(runs / "t.csv"), "--out", str(tmp_path / "new"), "--plan"]
    assert command([*words, str(plan), "--quiet"]) == 0
    said = capfd.readouterr().err
    assert said == f"note: {plan} was changed since a run wrote it; what it says now is taken\n"
    assert json.loads((tmp_path / "new" / "plan.json").read_text())["plan"]["epochs"] == 1
    for refused in (["resume", str(run)], ["verify", str(run)], ["info", str(run)], [*words, str(run), "--force"]):
        assert command(refused) == 4, refused
        said = capfd.readouterr().err
        assert said.startswith(
            f"mbgd: error: {plan} must say what was written, its SHA-256 shows that it was changed; "
        )
        assert said.endswith(f"or begin a new run by what it says now: 'mbgd train --plan {plan}'\n")
        assert said.count("\n") == 1


def test_another_spelling_of_the_same_values_holds(runs: Path, tmp_path: Path) -> None:
    run = shutil.copytree(runs / "finished", tmp_path / "run")
    for path in run.glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()), indent=4, sort_keys=False) + "\r\n\n")
    assert not mbgd.verify(run).wrong
