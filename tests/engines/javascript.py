"""onnxruntime-node and onnxruntime-web, in Node and in Chromium: one process asks all questions."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .forms import Array, Form
from .servers import free_port, started

HERE = Path(__file__).parent
PATIENCE = 300  # seconds for all questions
NARROW = {np.dtype(name): name for name in ("float32", "float64", "int64", "bool")}


def require(package: str) -> Path:
    """The folder of npm packages; skips the test where Node or this one is not there."""
    if shutil.which("node") is None:
        pytest.skip("there is no Node here")
    folder = Path(os.environ.get("NODE_MODULES", HERE / "node_modules"))
    if not (folder / package).is_dir():
        pytest.skip(f"the npm package {package} is not in $NODE_MODULES: see tests/engines/package.json")
    return folder


def chromium() -> str:
    """The browser; skips the test where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("there is no Chromium here")


def run(script: Path, *arguments: str) -> str:
    """What a script prints; AssertionError with what it said where it fails."""
    done = subprocess.run(["node", script, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder of files."""
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with started(command, f"http://127.0.0.1:{port}/", folder):
        yield f"http://127.0.0.1:{port}"


def visited(folder: Path, *visits: dict[str, Any]) -> list[Any]:
    """What each visit of Chromium to the folder brings back, see browse.mjs; nothing must be wrong with the pages."""
    told = {"packages": str(require("playwright-core")), "chromium": chromium()}
    with served(folder) as address:
        told["visits"] = [visit | {"address": f"{address}/{visit['address']}"} for visit in visits]
        (folder / "visits.json").write_text(json.dumps(told), encoding="utf-8")
        run(HERE / "browse.mjs", str(folder / "visits.json"), str(folder / "brought.json"))
    brought = json.loads((folder / "brought.json").read_text(encoding="utf-8"))
    assert [each["wrong"] for each in brought] == [[]] * len(visits)
    return [each["answers"] for each in brought]


def put_runtime(folder: Path) -> None:
    """onnxruntime-web's two files in ort/, as examples/browser asks for them."""
    (folder / "ort").mkdir()
    for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"):
        (folder / "ort" / name).symlink_to(require("onnxruntime-web") / "onnxruntime-web/dist" / name)


# -- questions and answers as JSON, see ask.mjs -----------------------------------------------------------


def questions(forms: Mapping[str, Form]) -> str:
    return json.dumps(
        {
            name: {
                "model": base64.b64encode(form.file).decode(),
                "inputs": {key: _told(array) for key, array in form.feed.items()},
                "outputs": form.outputs,
            }
            for name, form in forms.items()
        }
    )


def _told(array: Array) -> dict[str, Any]:
    if array.dtype == object:
        return {"type": "string", "dims": array.shape, "data": array.ravel().tolist()}
    return {"type": NARROW[array.dtype], "dims": array.shape, "data": base64.b64encode(array.tobytes()).decode()}


def array_of(told: Mapping[str, Any]) -> Array:
    if told["type"] == "string":
        return np.array(told["data"], object).reshape(told["dims"])
    return np.frombuffer(base64.b64decode(told["data"]), told["type"]).reshape(told["dims"])
