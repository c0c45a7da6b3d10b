"""Every form of file that fastdl writes, with inputs and what fastdl itself computes from them.

The nets are those of the tables in tests/export; tables are of all kinds of columns, in every layout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from export import test_activations, test_columns, test_export
from fusion.test_runner import sklearn_like
from tabular.tables import every_kind

import fastdl
from fastdl import fusion, layers
from fastdl.fusion.runtime.tables import TableInputs
from fastdl.tabular import Recipe, Table, TabularClassifier, TabularRegressor

Array = np.ndarray[Any, Any]
DTYPES = "float32", "float64"


@dataclass(frozen=True)
class Form:
    file: bytes
    feed: dict[str, Array]
    expected: dict[str, Array]
    outputs: tuple[str, ...] = ()  # which are asked for; all of them if none are named


Forms = Iterator[tuple[str, Form]]


def _form(file: bytes, feed: dict[str, Array], answers: Any) -> Form:
    """The answers of one output, or of several by name or in order."""
    names = [port.name for port in fastdl.Runner(file).outputs]
    if not isinstance(answers, dict):
        answers = dict(zip(names, answers if isinstance(answers, list) else [answers], strict=True))
    return Form(file, feed, answers)


def _exported(model: Any, x: Any, folder: Path, **options: Any) -> Form:
    """The file of a model of one input, or of several given by name."""
    model.export(folder / "model.onnx", **options)
    file = (folder / "model.onnx").read_bytes()
    ports = fastdl.Runner(file).inputs
    kinds = {"tensor(int64)": np.int64, "tensor(float)": np.float32, "tensor(double)": np.float64}
    given = x if isinstance(x, dict) else {ports[0].name: x}
    feed = {port.name: np.asarray(given[port.name], kinds.get(port.type, object)) for port in ports}
    return _form(file, feed, model.predict(x))


def nets(folder: Path) -> Forms:
    """Every op that is exported: folded of both dtypes, and plain."""
    for name in test_export.NETS:
        for dtype in DTYPES:
            model, x = test_export.make(name, dtype)
            yield f"{name}, {dtype}", _exported(model, x[:50], folder)
            if dtype == "float32":
                yield f"{name}, plain", _exported(model, x[:50], folder, fuse=False)


def activations(folder: Path) -> Forms:
    """Every activation between two batch norms."""
    x = np.random.default_rng(1).standard_normal((50, 7)) * 3
    for name, make in test_activations.LAYERS.items():
        for dtype in DTYPES:
            if (name, dtype) == ("gelu", "float64"):  # whose export is refused
                continue
            norms = layers.BatchNormalization(), layers.BatchNormalization()
            stack = [fastdl.Input((7,)), layers.Dense(9), norms[0], make(), norms[1], layers.Dense(3)]
            yield f"{name}, {dtype}", _exported(fastdl.Sequential(stack, dtype=dtype), x.astype(dtype), folder)


def encoders(folder: Path) -> Forms:
    """Strings and whole numbers that layers encode, alone and beside each other."""
    for name, (rows, make) in test_columns.NETS.items():
        for dtype in DTYPES:
            yield f"{name}, {dtype}", _exported(make()(dtype), rows, folder)
    columns = {
        "color": test_columns.TEXT[:3],
        "count": np.array([[1], [2], [9]]),
        "size": np.array([[-0.1], [0.0], [1e9]], np.float32),
        "pair": np.array([[0, 1], [1, 1], [0, 0]]),
        "weights": np.array([[0.5, 2], [1, -1], [3, 0]], np.float32),
    }
    yield "several inputs", _exported(test_columns.table_model(), columns, folder)
    texts = np.array([["ä"], ["a\u0308"], ["漢字"], ["😀"], [" a "], [""], ["\u200b"], ["ä "]], object)
    lookup = layers.StringLookup(vocabulary=texts[:5, 0].tolist(), output_mode="one_hot")
    model = fastdl.Sequential([fastdl.Input((1,), dtype="string"), lookup, layers.Dense(3)])
    yield "texts beyond ASCII", _exported(model, texts, folder)


def others(folder: Path) -> Forms:
    """Batches of any size, several outputs, names of classes, narrow numbers."""
    model, x = test_export.make("BN first")
    for rows in (1, 256):
        yield f"{rows} rows", _exported(model, x[:rows], folder)
    file = (folder / "model.onnx").read_bytes()
    yield "no rows", _form(file, {"input": x[:0]}, fastdl.Runner(file).predict(x[:0]))
    yield "names of classes", _exported(model, x, folder, class_names=["a", "b", "漢"])
    for kind in ("int8", "float16"):
        narrow, _ = fusion.quantize(str(folder / "model.onnx"), samples=x, type=kind, tolerance=0.1, measure=False)
        file = narrow.SerializeToString()
        yield kind, _form(file, {"input": x}, fastdl.Runner(file).predict(x))
    source = fastdl.Input((5,))
    hidden = layers.BatchNormalization()(layers.Dense(7, "relu")(source))
    heads = [layers.Dense(3, "softmax", name="classes")(hidden), layers.Dense(1, name="number")(hidden)]
    yield "two outputs", _exported(fastdl.Model(source, heads), x.reshape(256, -1)[:, :5], folder)


LAYOUTS: dict[str, dict[str, Any]] = {"columns": {}, "rank 1": {"rank1": True}, "matrices": {"layout": "matrices"}}
ROWS = 200
CLASSES: dict[str, list[Any]] = {
    "texts": ["ja 漢", "no", "yes"],
    "integers": [-5, 7, 2**40],
    "booleans": [False, True],
    "floats": [1.0, 2.0],
}


def tables(folder: Path) -> Forms:
    """A column of each kind and one of texts beyond ASCII, cells that are missing or unknown, classes of each type."""
    rng = np.random.default_rng(0)
    table, cities = every_kind(ROWS), np.array(["Zürich", "漢字", "😀", "", None], object)
    table = Table.of({name: table[name] for name in table.names} | {"city": rng.choice(cities, ROWS)})
    options: dict[str, Any] = {"epochs": 1, "random_state": 0}
    small = Recipe(hidden_layer_sizes=(16,))
    fits = {
        name: TabularClassifier("realmlp" if name == "texts" else small, **options).fit(table, rng.choice(known, ROWS))
        for name, known in CLASSES.items()
    }
    numbers, texts = rng.normal(size=ROWS), rng.choice(CLASSES["texts"], ROWS)
    fits["numbers"] = TabularRegressor(small, **options).fit(table, numbers)
    fits["a bag"] = TabularClassifier(small, folds=2, **options).fit(table, texts)
    fits["members"] = TabularClassifier("tabm", **options).fit(table, texts)
    for name, model in fits.items():
        odd = model.columns_.draw(rng, ROWS)
        if name == "numbers":
            expected = {"prediction": model.predict(odd).astype(np.float32)[:, None]}
        else:
            expected = {"label": model.predict(odd), "probabilities": model.predict_proba(odd)}
        for layout, chosen in LAYOUTS.items():
            if layout == "columns" or name in ("texts", "numbers"):
                file, _ = model.to_onnx(**chosen)
                feed = TableInputs.of(file).feed_of(odd)
                yield f"{name}, {layout}", Form(file.SerializeToString(), feed, expected)


FAMILIES: dict[str, Callable[[Path], Forms]] = {
    each.__name__: each for each in (nets, activations, encoders, others, tables)
}


def maps() -> tuple[Form, Form]:
    """A classifier as scikit-learn's exporter writes it, a label and a map a row; and asked for the label alone."""
    model, x = sklearn_like(["ant", "bee", "cat"]), np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    file, answers = model.SerializeToString(), fastdl.Runner(model).predict(x)
    return Form(file, {"x": x}, answers), Form(file, {"x": x}, {"label": answers["label"]}, ("label",))
