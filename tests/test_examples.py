"""Every example runs: a few epochs on a few rows, so that none can rot. Their figures are in docs/examples.md."""

from __future__ import annotations

import importlib.util
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import datasets

ROOT = Path(__file__).parent.parent
ALL = sorted(path.stem for path in (ROOT / "examples").glob("*.py") if path.stem != "data")
COMMANDS = {"fashion_mnist_recipe": ["--seeds", "1", "--epochs", "1", "--width", "32"]}  # what takes arguments
SERVICES = ["service"]  # which tests/engines starts
EXAMPLES = [name for name in ALL if name not in (*COMMANDS, *SERVICES)]
NEEDS = {"regression": "sklearn", "vanishing_gradients": "matplotlib"}


def loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example as a module, as if it were run from its folder."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_it_runs(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    main = loaded(name, monkeypatch).main
    options = {"epochs": 2, "rows": 400}
    if "picture" in inspect.signature(main).parameters:
        options["picture"] = tmp_path / "picture.png"
    figures = np.atleast_1d(main(**options))
    assert np.isfinite(figures).all()
    if "picture" in options:
        assert options["picture"].read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_runs(name: str) -> None:
    if datasets.find_fashion_mnist() is None:
        pytest.skip("Fashion-MNIST is not on this machine")
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), *COMMANDS[name]]
    environment = {**os.environ, "PYTHONPATH": str(Path(fastdl.__file__).parent.parent)}
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert run.returncode == 0, run.stderr
    assert "test accuracy" in run.stdout


def test_all_are_described() -> None:
    text = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    assert len(EXAMPLES) >= 10
    assert [name for name in ALL if f"{name}.py" not in text] == []
