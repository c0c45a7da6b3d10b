"""Tables to try things on, and a net that gives back what it reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper

from fastdl.fusion.runtime.session import Session
from fastdl.fusion.runtime.tables import TableInputs
from fastdl.tabular import Columns, Encoded, Table, assemble

KINDS = ("numbers", "flags", "codes")


def every_kind(rows: int = 500, seed: int = 0) -> Table:
    """A column of each kind, several ways."""
    rng = np.random.default_rng(seed)

    def texts(count: int, missing: float = 0.1) -> Any:
        cells = rng.choice(np.array([f"value {i}" for i in range(count)], object), rows)
        cells[rng.random(rows) < missing] = None
        return cells

    gaps = rng.normal(size=rows)
    gaps[::7] = np.nan
    large = 1.7e12 + rng.normal(size=rows) * 1000
    large[::11] = np.nan
    when = np.datetime64("2019-11-03T04:00") + rng.integers(0, 30000, rows) * np.timedelta64(1, "h")
    when[::13] = np.datetime64("NaT")
    import pandas as pd

    return Table.of(
        {
            "age": rng.integers(17, 90, rows),
            "gaps": gaps,
            "income": rng.lognormal(size=rows).astype(np.float32) * 1e4,
            "large": large,
            "few": texts(5),
            "two": texts(2),
            "many": texts(20),
            "long tail": np.array([f"v{int(i)}" for i in rng.zipf(1.6, rows)], object),
            "truth": rng.random(rows) < 0.3,
            "grade": pd.Series(
                pd.Categorical(rng.choice(["low", "high", None], rows), ["low", "mid", "high"], ordered=True)
            ),
            "when": when,
            "day": np.array([str(d) for d in np.datetime64("2020-02-20") + rng.integers(0, 400, rows)], object),
            "same": np.ones(rows),
            "number": np.arange(rows),
        }
    )


def echo(columns: Columns, kinds: tuple[str, ...] = KINDS) -> ModelProto:
    """A net that gives numbers, flags and codes beside each other, as they come."""
    sizes = {kind: len(getattr(columns, kind)) for kind in kinds if getattr(columns, kind)}
    nodes = [helper.make_node("Concat", [*sizes], ["y"], axis=1)]
    inputs = [helper.make_tensor_value_info(kind, TensorProto.FLOAT, ["N", size]) for kind, size in sizes.items()]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", sum(sizes.values())])]
    graph = helper.make_graph(nodes, "echo", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def beside(encoded: Encoded) -> np.ndarray[Any, Any]:
    return np.concatenate([encoded.numbers, encoded.flags, encoded.codes], axis=1)


def run(model: ModelProto, table: Any) -> dict[str, Any]:
    """What plain onnxruntime gives for a table."""
    return running(model)(table)


def running(model: ModelProto) -> Callable[[Any], dict[str, Any]]:
    """What plain onnxruntime gives for one table after another."""
    session, inputs = Session(model.SerializeToString()), TableInputs.of(model)
    names = [output.name for output in session.get_outputs()]
    return lambda table: dict(zip(names, session.run(None, inputs.feed_of(Table.of(table))), strict=True))


def echoed(columns: Columns, table: Any, **options: Any) -> np.ndarray[Any, Any]:
    """The table as the file encodes it."""
    return echoing(columns, **options)(table)


def echoing(columns: Columns, **options: Any) -> Callable[[Any], np.ndarray[Any, Any]]:
    """The columns' file, which gives any table as it encodes it."""
    net = echo(columns)
    width = net.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    answers = running(assemble(columns, net, classes=list(range(width)), **options))
    return lambda table: np.asarray(answers(table)["probabilities"])
