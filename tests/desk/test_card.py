"""README.md of a run: facts alone, the same whenever it was stopped, and whatever the columns are called."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import mbgd
from command import table
from mbgd.cli.show import print_run
from mbgd.desk.markdown import escaped

MARKDOWN = MarkdownIt("commonmark").enable("table").enable("strikethrough")
DROPPED = ("key", "group", "part", "two")
# parameters: x, its missing flag, z and a column for each of three colours, x and z bent in 32 bins of 3 numbers, make 12
# inputs: 2 * 32 * 3 + 12 scales + 13 * 8 + 9 = 317
GOLDEN = """\
# A model of y

Predicts y, a number, by a network with hidden layers of 8 units: 317 parameters, trained by MBGD VERSION, mini-batch \
gradient descent, with PyTorch VERSION.

## Scores

| rows or model | r2 | rmse | mae |  |
| --- | --- | --- | --- | --- |
| validation | SCORE | SCORE | SCORE | used to stop |
| test | SCORE | SCORE | SCORE | never used |
| mean | SCORE | SCORE | SCORE | baseline on the same rows |
| linear | SCORE | SCORE | SCORE | baseline on the same rows |

## Inputs

| column | type | read as |
| --- | --- | --- |
| x | double | number |
| z | double | number |
| c | string | category |

Left out: two.

## Data

Files: t.csv; manifest.json has their checksums.

| rows |  |  |
| --- | --- | --- |
| training | 288 | taught the weights, and how columns are read |
| validation | 32 | looked at in training, to stop it and to pick the weights |
| test | 80 | scored it at the end, and nothing else |

Split: random; test: a share of 0.2; validation: a share of 0.1.

Noted:

- the task for y is regression: a number with 394 different values
- column 'two' is left out: one value only
- when orders the rows: a random split may flatter; try split='time:when'

## Training

All planned epochs are done: 27 steps, 3 epochs, by the fused engine.

| knob | value |
| --- | --- |
| batch_size | 32 |
| drop | label, key, when, group, part |
| dropout_fades | yes |
| epochs | 3 |
| input_scales | yes |
| learning_rate | 0.002 |
| loss | squared_error |
| number_embeddings | yes |
| optimizer | adamw |
| patience | 16 |
| schedule | one_cycle |
| seed | 0 |
| threads | 1 |

## Use

RUN is this folder. Columns are found by name, in any order.

```
mbgd predict RUN new.csv --out predictions.csv
mbgd evaluate RUN new.csv
mbgd explain RUN new.csv
```

```python
import mbgd

mbgd.load("RUN").predict("new.csv")  # a file or a frame
```

## Limits

- Scores are of rows held out of the same data; they hold for rows like those.
- A number beyond those of the training rows is taken for the nearest of them.
- A category that the training rows lack has a code of its own, the one of a missing value.
- No prediction lies beyond the targets that it was trained on.

## Repeat

```
mbgd train DATA --plan RUN --out NEW
```

With the same rows, versions and processor the weights have the same bits: all chance depends on seed 0.

| version |  |
| --- | --- |
"""


def card(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def test_a_tiny_tables_card_to_the_letter(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    how: dict[str, Any] = {"hidden_layer_sizes": (8,), "epochs": 3, "batch_size": 32, "learning_rate": 0.002}
    mbgd.fit_table(tmp_path / "t.csv", "y", drop=("label", "key", "when", "group", "part"), out=tmp_path / "r", **how)
    said = card(tmp_path / "r")
    masked = re.sub(r"-?\d+\.\d{4}", "SCORE", re.sub(r"(MBGD|PyTorch) [\d.]+\d[\w+.]*(?=[,.])", r"\1 VERSION", said))
    assert masked[: len(GOLDEN)] == GOLDEN
    versions = json.loads((tmp_path / "r" / "plan.json").read_text())["versions"]
    assert masked.removeprefix(GOLDEN).splitlines() == [f"| {k} | {v} |" for k, v in sorted(versions.items())]
    assert str(tmp_path) not in said


RUNS: dict[str, dict[str, Any]] = {
    "number": {"target": "y", "drop": ("label", *DROPPED)},
    "classes": {"target": "label", "drop": ("y", *DROPPED), "dropout": 0.0},
    "three classes": {"target": "c", "drop": ("label", *DROPPED), "validation": "none", "test": "none"},
    "refit": {"target": "y", "refit": True, "hidden_layer_sizes": (), "weight": "two", "split": "column:part"},
    "by time": {"target": "y", "split": "time:when", "optimizer": "sgd", "momentum": 0.9, "time_limit": 500.0},
    "folds": {"target": "y", "folds": 3, "drop": ("label", *DROPPED)},
    "members": {"target": "label", "members": 2, "drop": ("y", *DROPPED), "epochs": 1},
    "quantiles": {"target": "y", "quantiles": (0.1, 0.5, 0.9), "validation": 0.2, "drop": ("label", *DROPPED)},
    "several targets": {"target": ("y", "w"), "drop": ("label", *DROPPED)},
    "unscored": {"target": "label", "loss": "hinge", "validation": "none"},
}


KINDS = (("r2", "rmse", "mae"), ("accuracy", "log_loss", "roc_auc"), ("pinball", "coverage", "mean_width"))


def numbers(value: Any) -> Iterator[float]:
    """Every number in JSON, also within its text."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from (*numbers(name), *numbers(part))
    elif isinstance(value, list):
        for part in value:
            yield from numbers(part)
    elif isinstance(value, str):
        yield from (float(word.replace(",", "")) for word in re.findall(r"-?\d[\d,]*(?:\.\d+)?", value))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield float(value)


@pytest.mark.parametrize("name", RUNS)
def test_every_number_is_one_of_plan_or_result(name: str, tmp_path: Path) -> None:
    data, folder = table().assign(when=lambda d: pd.to_datetime(d["when"])), tmp_path / "r"
    data["two"] = np.arange(len(data)) % 7 + 1
    if name == "several targets":
        data["w"] = 100 + 10 * data["z"]
    mbgd.fit_table(data, **{"epochs": 2, "batch_size": 32, **RUNS[name]}, out=folder)
    said = [json.loads((folder / file).read_text()) for file in ("plan.json", "result.json")]
    known = np.array(list(numbers(said)))
    known = np.concatenate([known, -known])  # an end that is moved by -2 is said to be narrowed by 2
    text = html.unescape(card(folder)).split("## Inputs")
    text[1] = "## Data" + text[1].split("## Data")[1]  # types such as int64 are words
    words = re.findall(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?", "".join(text))
    assert len(words) > 15
    for word in words:
        decimals = len(word.partition(".")[2])
        assert (np.abs(known - float(word.replace(",", ""))) <= 0.5 * 10.0**-decimals).any(), word
    shown = said[1]["scores"] | said[1]["baselines"]
    for rows, scores in shown.items():  # each set and baseline has its line, with the number in its column
        line = next(line for line in card(folder).splitlines() if line.startswith(f"| {rows} | "))
        names = next(kind for kind in KINDS if kind[0] in scores)
        assert line.split(" | ")[1:4] == [f"{scores[metric]:.4f}" for metric in names]
    assert ("never used" in card(folder)) == ("test" in shown)
    assert ("None: no rows were held out." in card(folder)) == (not shown)


def test_what_the_terminal_says_of_scores_the_card_says_too(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Several targets have a line each and are said to be means; an interval has its coverage; members their temperatures."""
    data = table().assign(w=lambda d: 100 + 10 * d["z"]).drop(columns=["key", "when", "group", "part", "two"])
    quick: dict[str, Any] = {"epochs": 2, "batch_size": 32, "hidden_layer_sizes": (4,)}
    runs = {
        "targets": {"target": ("y", "w"), "drop": ("label",)},
        "quantiles": {"target": "y", "quantiles": (0.1, 0.5, 0.9), "validation": 0.2, "drop": ("label",)},
        "members": {"target": "label", "members": 3, "drop": ("y", "w")},
    }
    cards, shown = {}, {}
    for name, how in runs.items():
        run = mbgd.fit_table(data, **quick, **how, out=tmp_path / name)
        capfd.readouterr()
        print_run(run)
        cards[name], shown[name] = card(tmp_path / name), capfd.readouterr().out
    for word in ("y", "w"):
        line = next(line.split() for line in shown["targets"].splitlines() if line.startswith(f"  {word} "))
        assert f"| {word} | {line[2]} | {line[4]} | {line[6]} | of the test rows |" in cards["targets"]
    assert cards["targets"].count(", mean over targets |") == 4
    assert "mbgd explain" not in cards["targets"]
    assert mbgd.explain(tmp_path / "quantiles", data, repeats=1, rows=1).contributions.rows
    assert "mbgd explain RUN new.csv" in cards["quantiles"]
    held = re.search(r"  0\.1-0\.9 +(holds .*)\n", shown["quantiles"])
    assert held is not None
    assert f"\n0.1 to 0.9 {held[1]}.\n" in cards["quantiles"]
    own = [float(m.temperature) for m in mbgd.load(tmp_path / "members").predictors]  # type: ignore[union-attr]
    assert len(set(own)) == 3
    assert f"by its own temperature, from {min(own):.4f} to {max(own):.4f}." in cards["members"]
    assert "not calibrated" not in cards["members"]


def test_a_run_that_was_stopped_has_the_same_card(tmp_path: Path) -> None:
    data, folder = table(), tmp_path / "r"
    mbgd.fit_table(data, "label", drop=("y", *DROPPED), epochs=3, checkpoint_every=2, out=folder)
    whole = card(folder)
    shutil.move(folder, folder := tmp_path / "elsewhere")
    newest = max((folder / "checkpoints").iterdir())
    shutil.rmtree(newest)  # back to the one before
    for name in ("result.json", "model.safetensors", "README.md"):
        (folder / name).unlink()
    mbgd.resume(folder, data=data)
    assert card(folder) == whole


def test_a_card_that_cannot_be_written_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """result.json comes last: what lacks it is gone on with."""
    from mbgd.desk import card as module

    def full(path: Path, data: bytes) -> None:
        raise mbgd.StorageError("disk must have room")

    with monkeypatch.context() as broken:
        broken.setattr(module, "write_bytes", full)
        with pytest.raises(mbgd.StorageError):
            mbgd.fit_table(table(), "y", drop=DROPPED, epochs=1, out=tmp_path / "r")
    assert not (tmp_path / "r" / "result.json").exists()
    mbgd.resume(tmp_path / "r", data=table())
    assert card(tmp_path / "r").startswith("# A model of y\n")
    assert (tmp_path / "r" / "result.json").exists()


def test_a_module_has_a_card_of_what_is_known(tmp_path: Path) -> None:
    x = torch.randn(60, 3)
    for name, own in (
        ("a", {"validation": 0.2, "loss": torch.nn.MSELoss()}),
        ("b", {"loss": lambda output, y: (output - y).abs()}),
    ):
        model = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Flatten(0))
        mbgd.fit(model, (x, x.sum(1)), out=tmp_path / name, learning_rate=0.1, epochs=2, **own)
    said = card(tmp_path / "a")
    assert said.startswith(
        "# A module, torch.nn.modules.container.Sequential\n\nA module of 4 parameters, trained by MBGD"
    )
    assert re.search(r"\| validation \| \d\.\d{4} \| \d\.\d{4} \| \d\.\d{4} \| used to stop \|", said)
    assert 'mbgd.load("RUN", model)' in said
    assert "None: no rows were held out." in card(tmp_path / "b")
    assert "MSELoss" in said


NAMES = [
    "a|b", "`x`", "<script>alert(1)</script>", "[x](http://evil)", "![i](u)", "*bold*", "__init__", "_x_", "a_b", "# x",
    "line\nbreak", "a\\|b", "&amp;", "1. x", "- x", "+ x", "=== ", "---", "www.evil.com", "~~x~~", "$x$", "größe", "a  b",
    "<!-- -->", "http://x", "| --- |", "12)", ":--", "|", "\\",
]  # fmt: skip


def shown(text: str) -> str:
    blank = re.sub(r"[\s\x00-\x1f\x7f]+", " ", text).strip()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in blank)


def text_of(token: Any) -> str:
    """What an inline token shows; anything but text is none of ours."""
    assert {child.type for child in token.children} <= {"text", "text_special"}
    return "".join(child.content for child in token.children)


@given(name=st.one_of(st.sampled_from(NAMES), st.text(max_size=12), st.text("|`*_[]()<>#\\-+.:1ab \n", max_size=12)))
def test_any_name_is_shown_as_it_is_and_is_nothing_else(name: str) -> None:
    page = f"| a | b |\n| --- | --- |\n| {escaped(name)} | second |\n\n- {escaped(name)} said\n"
    tokens = MARKDOWN.parse(page)
    kinds = [token.type for token in tokens if token.type.endswith("_open")]
    assert kinds == [
        "table_open", "thead_open", "tr_open", "th_open", "th_open", "tbody_open", "tr_open", "td_open", "td_open",
        "bullet_list_open", "list_item_open", "paragraph_open",
    ]  # fmt: skip
    inline = [text_of(token) for token in tokens if token.type == "inline"]
    assert inline == ["a", "b", shown(name), "second", shown(f"{shown(name)} said")]
    assert not re.search(r"https?://|www\.", escaped(name), re.IGNORECASE)  # GitHub makes links of these without more


def test_a_table_of_odd_names_has_a_card_with_a_line_for_each(tmp_path: Path) -> None:
    chance, odd = np.random.default_rng(0), NAMES[:-1]
    data = pd.DataFrame({name: chance.normal(size=120) for name in odd})
    data["<b>|y"] = [f"<i>{k}|" for k in chance.integers(0, 2, 120)]
    data[odd[0]] = "one"
    mbgd.fit_table(data, "<b>|y", epochs=1, hidden_layer_sizes=(), out=tmp_path / "r")
    tokens = MARKDOWN.parse(card(tmp_path / "r"))
    assert "html_block" not in {token.type for token in tokens}
    inline = [token for token in tokens if token.type == "inline"]
    texts = [text_of(token) for token in inline if not re.search("RUN|mbgd", token.content)]
    assert texts[0] == "A model of <b>|y"
    assert "Predicts <b>|y, one of the classes <i>0|, <i>1|," in texts[1]
    for name in odd[1:]:
        assert texts.count(shown(name)) == 1, name
    assert "Left out: a|b." in texts


def test_the_card_is_among_the_files_that_the_docs_name() -> None:
    assert "README.md" in (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
