"""Tables as text, and `fastdl train` on them within a few seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fastdl.cli import main

ROWS = 120
FILES = {"model.onnx", "report.html", "metrics.json", "model.fastdl"}


def columns(rows: int = ROWS, **more: Any) -> dict[str, Any]:
    """x and c, of which t follows; more: columns beside them, or in place of them."""
    rng = np.random.default_rng(0)
    x, c = rng.normal(size=rows).round(3), rng.choice(["a", "b", "c"], rows)
    t = np.where(x + (c == "a") + 0.3 * rng.normal(size=rows) > 0.3, "yes", "no")
    return {"x": x, "c": c, "t": t, **more}


def numbers(rows: int = ROWS) -> Any:
    """A target of numbers, which follows from x."""
    x = columns(rows)["x"]
    return (2 * x + 0.1 * np.random.default_rng(1).normal(size=rows)).round(4)


def text(table: dict[str, Any], separator: str = ",") -> str:
    """As CSV, without quotes."""
    rows = zip(*table.values(), strict=True)
    return "".join(separator.join(map(str, row)) + "\n" for row in [tuple(table), *rows])


def train(data: Path, *arguments: str, target: str = "t") -> int:
    """The exit code, with two nets of two epochs; files go to a folder `out` beside the data."""
    given = [] if "--output" in arguments else ["--output", str(data.parent / "out")]
    try:
        return main(["train", str(data), "--target", target, "--epochs", "2", "--folds", "2", *given, *arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
