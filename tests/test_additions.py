"""docs/additions: one addition of each kind, as diffs that apply to this tree, and that the tables of tests pick up."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DIFFS = sorted((ROOT / "docs/additions").glob("*.diff"))

# what each touches beside tests: docs/adding.md says why there is no less
PLACES = {
    "activation": {"ext/variants.h", "ext/kernels/activations.h", "fastdl/activations.py"},
    "optimizer": {"ext/variants.h", "ext/kernels/optimizers.h", "fastdl/optimizers/rules.py"},
    "loss": {"ext/variants.h", "ext/kernels/element_losses.h", "fastdl/losses/loss.py"},
    "op": {"ext/table.h", "ext/kernels/reverse.h", "ext/build.c", "fastdl/ops/reverse.py", "fastdl/ops/__init__.py"},
    "layer": {"fastdl/layers/core.py"},
    "callback": {"fastdl/callbacks/terminate_on_nan.py"},
    "metric": {"fastdl/metrics/errors.py"},
    "initializer": {"fastdl/initializers.py"},
    "command": {"fastdl/commands/count.py"},
    "fold": {"fastdl/fusion/folds/twice.py"},
    "column": {f"fastdl/tabular/columns/{name}.py" for name in ("left_out", "columns", "kinds")},
}
# tests that go through registries and tables; the additions have rows in some, and are found by the others
TABLES = [
    *("tests/kernels", "tests/ops", "tests/export", "tests/models/test_saving.py", "tests/fusion/test_twice.py"),
    *("tests/test_optimizers.py", "tests/test_losses.py", "tests/test_initializers.py", "tests/base/test_arguments.py"),
    *("tests/test_rooms.py", "tests/test_sizes.py", "tests/callbacks"),
    "tests/tabular/test_columns.py",
]
USE = """
import fastdl
from fastdl.fusion.folds import RULES
from fastdl.commands import COMMANDS
assert fastdl.activations.get("hard_tanh") is fastdl.activations.hard_tanh
assert type(fastdl.optimizers.get("qhm")) is fastdl.optimizers.QHM
assert fastdl.losses.get("Cauchy").scale == 1 and fastdl.losses.cauchy([[0.0]], [[1.0]])[0] > 0
assert fastdl.layers.deserialize(fastdl.layers.serialize(fastdl.layers.Square())).name
assert repr(fastdl.callbacks.StopAfter(2)) == "StopAfter(seconds=2.0)"
assert fastdl.metrics.NAMES["psnr"] is fastdl.metrics.PeakSignalToNoiseRatio
assert fastdl.initializers.get("laplace")((50,), "float32").shape == (50,)
assert "count" in COMMANDS and "done twice" in [rule.name for rule in RULES]
"""


def touched(diff: Path) -> set[str]:
    return set(re.findall(r"^\+\+\+ b/(.*)$", diff.read_text(encoding="utf-8"), re.M))


def test_each_touches_the_places_that_are_stated() -> None:
    if not DIFFS:
        pytest.skip("docs/ is not here")
    assert {diff.stem for diff in DIFFS} == set(PLACES)
    for diff in DIFFS:
        assert {name for name in touched(diff) if not name.startswith("tests/")} == PLACES[diff.stem], diff.stem


@pytest.mark.slow
def test_all_of_them_apply_and_the_tables_hold(tmp_path: Path) -> None:
    pytest.importorskip("Cython")
    if not DIFFS or shutil.which("git") is None or shutil.which("gcc") is None:
        pytest.skip("it needs docs/, git and a compiler")
    tree = tmp_path / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", "build", "*.so", "__pycache__", ".*cache"))
    for diff in DIFFS:
        subprocess.run(["git", "apply", str(diff)], cwd=tree, check=True)
    environment = {**os.environ, "PYTHONPATH": str(tree)}

    def python(*arguments: str) -> None:
        command = [sys.executable, *arguments]
        run = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]

    python("setup.py", "-q", "build_ext", "--inplace")
    python("-c", USE)
    python("-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *TABLES)

    # back to sources whose objects are there, older than what was linked of others: the extension is theirs again
    (extension,) = (tree / "fastdl").glob("_ext*.so")
    source, mark = tree / "ext/team.c", b"linked anew"
    text = source.read_bytes()
    for content, marked in ((text + b'\nconst char fdl_mark[] = "' + mark + b'";\n', True), (text, False)):
        source.write_bytes(content)
        python("setup.py", "-q", "build_ext", "--inplace")
        assert (mark in extension.read_bytes()) is marked
