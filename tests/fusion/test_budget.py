"""A file below 10 kB costs no command more than 600 MB or 20 s, whatever is in it; its outcome is typed, or right."""

import pytest

from fastdl.errors import ModelFileError
from fastdl.fusion import read_model

from . import bombs, budget

# The worst of each kind; all of them, through all commands, take an hour: -m slow, or `python -m tests.fusion.budget`
QUICK = {
    "fuse": ["Concat doubling 40 times", "input of 2^26 rows", "4 MB concatenated 200 times", "RegexFullMatch (a+)+$"],
    "verify": ["diamonds of x + x", "outer product of 2^15"],
    "quantize": ["diamonds of x + x", "ConstantOfShape of 2^33"],
    "Runner": ["Loop of 2^60 rounds", "Loop doubling 40 times", "tree that is a ring", "StringConcat doubling"],
    "inspect": ["integers doubling, then a shape", "functions 15 deep, doubling", "attributes of 2,000 numbers"],
    "from_onnx": ["diamonds of x + x", "a chain of 300 nodes", "dims with a zero and 2^60"],
}


def test_they_are_many_and_small():
    sizes = {name: len(bombs.content(name)) for name in bombs.BOMBS}
    assert len(sizes) >= 300
    assert max(sizes.values()) < 10_000


@pytest.mark.parametrize(("command", "name"), [(command, name) for command in QUICK for name in QUICK[command]])
def test_the_worst_of_each_kind(command, name):
    (row,) = budget.table([name], [command])
    assert not budget.fails(row), row


@pytest.mark.slow
@pytest.mark.parametrize("name", bombs.BOMBS)
def test_every_file_through_every_command(name):
    wrong = [row for row in budget.table([name]) if budget.fails(row)]
    assert not wrong


NO_TEXT = [name for name in bombs.BOMBS if name.endswith("that is no UTF-8")] + ["strings that are not UTF-8"]


@pytest.mark.parametrize("command", budget.COMMANDS)
@pytest.mark.parametrize("name", NO_TEXT)
def test_what_is_no_utf_8_is_refused_by_name(name, command):
    assert budget.outcome(command, bombs.content(name)).startswith("ModelFileError")
    with pytest.raises(ModelFileError, match="not UTF-8"):
        read_model(bombs.content(name))
