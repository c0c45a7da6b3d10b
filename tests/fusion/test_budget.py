"""A file below 10 kB costs no command more than 600 MB or 20 s, whatever is in it; its outcome is typed, or right."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fastdl.errors import ModelFileError
from fastdl.fusion import read_model

from . import bombs, budget

# The worst of each kind. All of them through all commands take a quarter of an hour: `python -m tests.fusion.budget`
QUICK = [
    ("fuse", "Concat doubling 40 times"),
    ("fuse", "input of 2^26 rows"),
    ("verify", "outer product of 2^15"),
    ("quantize", "diamonds of x + x"),
    ("Runner", "Loop of 2^60 rounds"),
    ("Runner", "StringConcat doubling"),
    ("inspect", "functions 15 deep, doubling"),
    ("from_onnx", "dims with a zero and 2^60"),
    ("from_onnx", "strange: Gemm whose sizes do not fit"),
]
# and each file through one command
ALL = [(list(budget.COMMANDS)[number % len(budget.COMMANDS)], name) for number, name in enumerate(bombs.BOMBS)]
AT_ONCE = 30
CHILD = """
import json, sys
sys.path.append(sys.argv[1])
from tests.fusion import budget
rows = [row for command, name in json.loads(sys.argv[2]) for row in budget.table([name], [command])]
print(json.dumps(rows))
"""


def measured(pairs):
    """Their rows, from a process that holds nothing else, whose memory would count."""
    command = [sys.executable, "-P", "-c", CHILD, str(Path(__file__).parents[2]), json.dumps(pairs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_they_are_many_and_small():
    sizes = {name: len(bombs.content(name)) for name in bombs.BOMBS}
    assert len(sizes) >= 300
    assert max(sizes.values()) < 10_000


@pytest.mark.slow
def test_the_worst_of_each_kind():
    assert not [row for row in measured(QUICK) if budget.fails(row)]


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, len(ALL), AT_ONCE))
def test_every_file(first):
    assert not [row for row in measured(ALL[first : first + AT_ONCE]) if budget.fails(row)]


NO_TEXT = [name for name in bombs.BOMBS if name.endswith("that is no UTF-8")] + ["strings that are not UTF-8"]


@pytest.mark.parametrize("command", budget.COMMANDS)
@pytest.mark.parametrize("name", NO_TEXT)
def test_what_is_no_utf_8_is_refused_by_name(name, command):
    assert budget.outcome(command, bombs.content(name)).startswith("ModelFileError")
    with pytest.raises(ModelFileError, match="not UTF-8"):
        read_model(bombs.content(name))
