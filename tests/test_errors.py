"""Remedies exist where they are read: what the command offers is typed into a shell, what Python offers is an argument."""

from __future__ import annotations

import shlex

import pytest

from mbgd.cli.options import names_in
from mbgd.data.files import dialect_option
from mbgd.desk.plan import make_plan
from mbgd.errors import PlanError, argument, as_options, option, speaking_as_the_command

NAMES = ("x", "a b", "it's", 'say "hi"', "", "$HOME", "a;b", "Unnamed: 0", "-x")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("knob", ["drop", "categorical", "numeric"])
def test_an_option_is_read_by_a_shell_as_the_argument_is_by_python(knob: str, name: str) -> None:
    note = f"column {name!r} is left out; {argument(knob, name)} keeps it"
    offered = as_options(note).removeprefix(f"column {name!r} is left out; ").removesuffix(" keeps it")
    assert shlex.split(offered) == [f"--{knob}", name]
    assert eval(f"dict({argument(knob, name)})") == {knob: [name]}
    with speaking_as_the_command():
        assert option(knob, name) == offered
    assert option(knob, name) == argument(knob, name)


@pytest.mark.parametrize("delimiter", [";", ",", "|", "\t", " "])
def test_an_option_names_the_delimiter_as_a_shell_takes_it(delimiter: str) -> None:
    words = shlex.split(as_options(argument("delimiter", delimiter)))
    assert words == ["--delimiter", "\\t" if delimiter == "\t" else delimiter]  # '\t' is how the command takes a tab
    assert eval(f"dict({argument('delimiter', delimiter)})") == {"delimiter": delimiter}


def test_columns_and_switches_have_the_forms_of_their_door() -> None:
    words = shlex.split(as_options(argument("columns", "a,b,c")))
    assert (words[0], names_in(words[1:])) == ("--columns", ("a", "b", "c"))
    assert eval(f"dict({argument('columns', 'a,b,c')})") == {"columns": ["a", "b", "c"]}
    assert as_options(argument("header", "False")) == "--no-header"
    assert as_options("give keep_default_na=False, or leave it") == "give --no-keep-default-na, or leave it"


def test_a_trained_model_offers_no_argument_that_its_predict_does_not_take() -> None:
    assert dialect_option("delimiter", ";", known=()) == "delimiter=';'"
    assert dialect_option("delimiter", ";", known=(("a",),)) == "read the file with pandas and give the frame"
    with speaking_as_the_command():
        assert dialect_option("delimiter", ";", known=(("a",),)) == "--delimiter ';'"


def test_objects_of_python_are_offered_in_python_alone() -> None:
    with pytest.raises(PlanError, match="or a function of updates done or a torch.optim.lr_scheduler, got 'cosin'"):
        make_plan({"schedule": "cosin"})
    with (
        speaking_as_the_command(),
        pytest.raises(PlanError, match="'one_cycle', got 'cosin'; did you mean"),
    ):
        make_plan({"schedule": "cosin"})
