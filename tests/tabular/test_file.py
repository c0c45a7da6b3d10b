"""One file of raw columns: it encodes to the bit as numpy does, answers as `predict` does, and is proven to."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import fastdl
from fastdl import layers
from fastdl.base.metadata import COLUMNS_KEY
from fastdl.errors import FusionError
from fastdl.onnx.export import to_onnx
from fastdl.runner import Runner
from fastdl.tabular import Columns, Table, assemble, nets, prove, recipes
from fastdl.tabular.training import answers_of

from .tables import beside, echo, echoed, echoing, every_kind, run

Array = np.ndarray[Any, Any]
LAYOUTS: dict[str, dict[str, Any]] = {
    "columns": {},
    "columns of rank 1": {"rank1": True},
    "matrices": {"layout": "matrices"},
    "not folded": {"fold": False},
}
TABLES: dict[str, Callable[[Table], Table]] = {
    "every kind": lambda table: table,
    "numbers": lambda table: table.select(["age", "income"]),
    "one number": lambda table: table.select(["gaps"]),
    "doubles": lambda table: table.select(["large", "gaps"]),
    "dates": lambda table: table.select(["when", "day"]),
    "one date": lambda table: table.select(["day"]),
    "flags": lambda table: table.select(["few", "two", "truth"]),
    "two values": lambda table: table.select(["two"]),
    "a boolean": lambda table: table.select(["truth"]),
    "codes": lambda table: table.select(["many", "long tail"]),
    "an order": lambda table: table.select(["grade"]),
    "numbers and an order": lambda table: table.select(["grade", "gaps", "truth", "large"]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", TABLES)
def test_the_file_encodes_to_the_bit(name: str, layout: str) -> None:
    table = TABLES[name](every_kind())
    for scaled_flags in (True, False):
        columns = Columns(scaled_flags=scaled_flags).fit(table)
        odd = columns.draw(np.random.default_rng(1), 2000)
        encode = echoing(columns, **LAYOUTS[layout])
        for rows in (table.select(columns.inputs), odd, odd.take(np.arange(1)), odd.take(np.arange(0))):
            want = beside(columns.transform(rows))
            np.testing.assert_array_equal(encode(rows), want)


def test_dates_of_a_thousand_years() -> None:
    days = np.datetime64("1500-01-01T00:00:00") + np.arange(365 * 1000) * np.timedelta64(86400 + 17, "s")
    columns = Columns().fit(Table.of({"when": days}))
    np.testing.assert_array_equal(echoed(columns, {"when": days}), beside(columns.transform({"when": days})))


def small(columns: Columns, units: int, tail: str | None) -> tuple[fastdl.Model, ModelProto]:
    """A net of the columns, not trained, and its file."""
    kinds = [kind for kind in ("numbers", "flags", "codes") if getattr(columns, kind)]
    inputs = [layers.Input((len(getattr(columns, kind)),), name=kind) for kind in kinds]
    hidden = layers.Dense(16, "selu")(layers.Rescaling(0.1)(layers.Concatenate()(inputs)))
    model = fastdl.Model(inputs, layers.Dense(units, tail)(hidden))
    return model, exported(model)


def exported(model: fastdl.Model) -> ModelProto:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        model.export(Path(folder) / "net.onnx")
        return onnx.load(Path(folder) / "net.onnx")


def predicting(columns: Columns, model: fastdl.Model) -> Callable[[Table], Array]:
    def predict(table: Table) -> Array:
        encoded = columns.transform(table)
        return np.asarray(model.predict([encoded.numbers, encoded.flags, encoded.codes]))

    return predict


@pytest.fixture(scope="module")
def columns() -> Columns:
    return Columns().fit(every_kind())


CLASSES: dict[str, tuple[list[Any], Any]] = {
    "texts": (["no", "yes", "ja 漢"], np.str_),
    "0, 1, 2": ([0, 1, 2], np.int64),
    "integers": ([-5, 7, 2**40], np.int64),
    "floats": ([0.5, 1.5, 2.0], np.float64),
    "numpy's": (list(np.array([3, 4, 5], np.int32)), np.int64),
    "mixed": ([1, "a", None], np.str_),
}


@pytest.mark.parametrize("name", CLASSES)
def test_classes_of_any_type(columns: Columns, name: str) -> None:
    classes, dtype = CLASSES[name]
    model, net = small(columns, 3, "softmax")
    file = assemble(columns, net, classes=classes)
    assert [output.name for output in file.graph.output] == ["label", "probabilities"]
    table = columns.draw(np.random.default_rng(0), 300)
    given = run(file, table)
    best = predicting(columns, model)(table).argmax(axis=1)
    assert len(set(best)) > 1
    want = [str(each) if dtype is np.str_ else each for each in classes]
    assert given["label"].tolist() == [want[i] for i in best]
    labels = Runner(file).predict_labels(table)
    assert labels.dtype.kind == np.dtype(dtype).kind
    assert labels.tolist() == [want[i] for i in best]
    assert prove(file, columns, predicting(columns, model), 500).max_error < 2e-6


def test_two_classes_that_are_booleans(columns: Columns) -> None:
    model, net = small(columns, 2, "softmax")
    file = assemble(columns, net, classes=[False, True])
    table = columns.draw(np.random.default_rng(0), 300)
    want = predicting(columns, model)(table).argmax(axis=1) == 1
    labels = Runner(file).predict_labels(table)
    assert labels.dtype == bool
    np.testing.assert_array_equal(labels, want)


def test_a_prediction_in_its_own_units(columns: Columns) -> None:
    model, net = small(columns, 1, None)
    file = assemble(columns, net, target=(100.0, 20.0), limits=(80.0, 125.0))
    assert [output.name for output in file.graph.output] == ["prediction"]

    def predict(table: Table) -> Array:
        return np.clip(predicting(columns, model)(table).astype(np.float64) * 20 + 100, 80, 125)

    table = columns.draw(np.random.default_rng(0), 300)
    np.testing.assert_allclose(run(file, table)["prediction"], predict(table), rtol=2e-6)
    proof = prove(file, columns, predict, 3000)
    assert (proof.rows, proof.ties) == (3000, 0)
    assert proof.missing > 100


def test_the_proof_can_fail(columns: Columns) -> None:
    model, net = small(columns, 3, "softmax")
    file, predict = assemble(columns, net, classes=[0, 1, 2]), predicting(columns, model)
    proof = prove(file, columns, predict, 1000)
    assert str(proof).startswith("1,000 random rows, ")

    def off(table: Table) -> Array:
        return predict(table) + np.float32(1e-5) * np.array([1, -1, 0], np.float32)

    def unlike_where_missing(table: Table) -> Array:
        missing = np.array([cell is None for cell in table["few"]])
        return np.where(missing[:, None], np.float32(1 / 3), predict(table))

    def swapped(table: Table) -> Array:
        return predict(table)[:, ::-1]

    for wrong in (off, unlike_where_missing, swapped):
        with pytest.raises(FusionError, match="is off by"):
            prove(file, columns, wrong, 1000)
    with pytest.raises(FusionError, match="has shape"):
        prove(file, columns, lambda table: predict(table)[:, :2], 100)
    broken = ModelProto()
    broken.CopyFrom(file)
    (labels,) = [each for each in broken.graph.node[-1].attribute if each.name == "classlabels_ints"]
    labels.ints[:] = [2, 0, 1]
    with pytest.raises(FusionError, match="label"):
        prove(broken, columns, predict, 1000)


def test_samples_are_compared_too(columns: Columns) -> None:
    model, net = small(columns, 3, "softmax")
    file, predict = assemble(columns, net, classes=[0, 1, 2]), predicting(columns, model)
    own = every_kind(rows=77, seed=3)
    assert prove(file, columns, predict, 100, samples=own).rows == 177
    of_own = {str(text) for text in own["long tail"]}

    def wrong(table: Table) -> Array:
        return predict(table) * (1.0 if not {str(t) for t in table["long tail"]} <= of_own else 2.0)

    with pytest.raises(FusionError, match="is off by"):
        prove(file, columns, wrong, 100, samples=own)


NAMES = ["label", "probabilities", "numbers", "flags", "codes", "scaled", "dense", "a b/c:ü", "y", "0", "constant"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_columns_of_any_names(layout: str) -> None:
    rng = np.random.default_rng(0)
    table = Table.of(
        {name: rng.normal(size=50) if i % 2 else rng.choice(["a", "b"], 50) for i, name in enumerate(NAMES)}
    )
    columns = Columns().fit(table)
    model, net = small(columns, 2, "softmax")
    file = assemble(columns, net, classes=["a", "b"], **LAYOUTS[layout])

    def predict(table: Table) -> Array:
        encoded = columns.transform(table)
        return np.asarray(model.predict([encoded.numbers, encoded.flags]))

    assert prove(file, columns, predict, 500).max_error < 2e-6
    if layout != "matrices":
        assert [info.name for info in file.graph.input] == NAMES
    assert len(Runner(file).predict_labels(table)) == 50


def test_texts_that_look_alike_across_columns() -> None:
    """Of the one matrix of texts: "1=a" in one column is not "a" in the next."""
    table = Table.of(
        {"x": ["a", "1=a", "=", "0=a"] * 20, "y": ["1=a", "a", "a", "="] * 20, "z": list("abcdefghij") * 8}
    )
    columns = Columns().fit(table)
    np.testing.assert_array_equal(echoed(columns, table, layout="matrices"), beside(columns.transform(table)))


def test_whole_codes_enter_an_embedding_as_they_are() -> None:
    rng = np.random.default_rng(0)
    table = Table.of(
        {"a": [f"v{i}" for i in rng.integers(0, 30, 300)], "b": [f"w{i}" for i in rng.integers(0, 12, 300)]}
    )
    columns = Columns().fit(table)
    rows = rng.normal(size=(sum(columns.sizes), 4)).astype(np.float32)
    starts = np.array([0, columns.sizes[0]], np.int64)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["codes"], ["whole"], to=TensorProto.INT64),
            helper.make_node("Add", ["whole", "starts"], ["places"]),
            helper.make_node("Gather", ["rows", "places"], ["chosen"]),
            helper.make_node("Flatten", ["chosen"], ["y"]),
        ],
        "embedding",
        [helper.make_tensor_value_info("codes", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8])],
        [numpy_helper.from_array(rows, "rows"), numpy_helper.from_array(starts, "starts")],
    )
    net = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for layout in ("columns", "matrices"):
        file = assemble(columns, net, classes=list(range(8)), layout=layout)
        assert "Cast" not in [node.op_type for node in file.graph.node]
        codes = columns.transform(table).codes.astype(int)
        want = rows[codes + starts].reshape(300, 8)
        np.testing.assert_array_equal(run(file, table)["probabilities"], want)


def test_a_net_that_does_not_fit(columns: Columns) -> None:
    other = Columns().fit(every_kind().select(["age", "few"]))
    _, net = small(columns, 3, "softmax")
    for call, message in (
        (
            lambda: assemble(other, net, classes=[0, 1, 2]),
            "the net takes 16 numbers, .* the columns give 1 numbers, 5 fl",
        ),
        (lambda: assemble(columns, net, classes=[0, 1]), "the net gives 3 columns, not 2"),
    ):
        with pytest.raises(FusionError, match=message):
            call()
    with pytest.raises(ValueError, match="unknown layout 'rows'"):
        assemble(columns, net, layout="rows")  # type: ignore[arg-type]


def test_few_operators() -> None:
    """Adult's columns: one LabelEncoder for each text, or one of all, and a node for each step of all numbers."""
    rng = np.random.default_rng(0)
    texts = {f"t{i}": rng.choice([f"v{j}" for j in range(c)], 3000) for i, c in enumerate((9, 16, 7, 15, 6, 5, 2, 42))}
    table = Table.of({f"n{i}": rng.normal(size=3000) for i in range(6)} | texts)
    columns = Columns().fit(table)
    for layout, encoders, most in (("columns", 8, 22), ("matrices", 1, 16)):
        net = echo(columns)
        width = net.graph.output[0].type.tensor_type.shape.dim[1].dim_value
        file = assemble(columns, net, classes=list(range(width)), layout=layout)
        kinds = [node.op_type for node in file.graph.node]
        assert kinds.count("LabelEncoder") == encoders
        assert len(kinds) <= most, kinds


def table_of(widths: list[int], rows: int = 400, **more: Any) -> Table:
    """Columns of so many texts each, some of them missing, and more beside them."""
    rng = np.random.default_rng(0)
    texts: dict[str, Any] = {}
    for i, width in enumerate(widths):
        texts[f"t{i}"] = rng.choice(np.array([f"v{j}" for j in range(width)], object), rows)
        texts[f"t{i}"][rng.random(rows) < 0.1] = None
    return Table.of(texts | {name: rng.normal(size=rows) for name in more})


STACKED = {  # texts of each column, and whether one Gather finds the rows of all
    "flags and codes": ({"widths": [2, 5, 8, 12, 30], "n": 1}, {}, True),
    "no numbers": ({"widths": [5, 8, 12, 30]}, {}, True),
    "one of each": ({"widths": [5, 12], "n": 1}, {}, False),
    "flags alone": ({"widths": [2, 5, 8], "n": 1}, {}, False),
    "codes alone": ({"widths": [12, 30], "n": 1}, {}, False),
    "too much padding": ({"widths": [2] * 12 + [12, 30], "n": 1}, {}, False),
    "of rank 1": ({"widths": [2, 5, 8, 12, 30], "n": 1}, {"rank1": True}, False),
    "matrices": ({"widths": [2, 5, 8, 12, 30], "n": 1}, {"layout": "matrices"}, False),
}


@pytest.mark.parametrize("name", STACKED)
def test_flags_and_codes_are_rows_of_one_table(name: str) -> None:
    made, options, stacked = STACKED[name]
    table = table_of(**made)
    columns = Columns().fit(table)
    inputs = nets.Inputs(len(columns.numbers), len(columns.flags), tuple(columns.sizes))
    net = nets.make(recipes.REALMLP, inputs, recipes.CLASSES, 3, 10).model
    file = assemble(columns, to_onnx(net.trace(), "net", {}, ["y"]), classes=["a", "b", "c"], **options)
    assert ("category_table" in {tensor.name for tensor in file.graph.initializer}) == stacked
    assert ("GatherElements" in {node.op_type for node in file.graph.node}) == (bool(columns.flags) and not stacked)

    def predict(table: Table) -> Array:
        return np.asarray(net.predict(columns.transform(table).arrays))

    assert prove(file, columns, predict, 2000).missing > 0


SHORTER: dict[str, tuple[dict[str, Any], dict[str, Any], list[str], list[str]]] = {
    # columns; options; which operators are there, and which are not
    "gaps in some of the numbers": (
        {"gaps": 2, "full": 3}, {"classes": ["a", "b", "c"]}, ["LinearClassifier"], ["IsNaN", "Gather", "Softmax"]
    ),
    "gaps in all of them": (
        {"gaps": 3, "full": 0}, {"classes": [5, 6, 7]}, ["LinearClassifier"], ["IsNaN", "Gather", "ArgMax"]
    ),
    "gaps in few of many": ({"gaps": 1, "full": 30}, {"classes": [0, 1, 2]}, ["Gather"], ["IsNaN", "Cast"]),
    "no gaps": ({"gaps": 0, "full": 3}, {"classes": [0, 1, 2]}, ["LinearClassifier"], ["IsNaN", "LabelEncoder"]),
    "classes that are no labels of it": (
        {"gaps": 2, "full": 3}, {"classes": [0.5, 1.5, 2.5]}, ["Softmax", "ArgMax"], ["LinearClassifier", "IsNaN"]
    ),
    "numbers to predict": ({"gaps": 2, "full": 3}, {}, ["Gemm"], ["IsNaN", "LinearClassifier"]),
    "matrices": ({"gaps": 2, "full": 3}, {"classes": ["a", "b", "c"], "layout": "matrices"}, [], ["IsNaN", "Softmax"]),
}  # fmt: skip


@pytest.mark.parametrize("name", SHORTER)
def test_fewer_nodes_than_folds_leave(name: str) -> None:
    made, options, there, gone = SHORTER[name]
    rng = np.random.default_rng(0)
    full = {f"n{i}": rng.normal(size=400) for i in range(made["full"])}
    gaps = {f"g{i}": np.where(rng.random(400) < 0.2, np.nan, rng.normal(size=400)) for i in range(made["gaps"])}
    columns = Columns().fit(Table.of(gaps | full))
    inputs = nets.Inputs(len(columns.numbers), len(columns.flags), ())
    task = recipes.CLASSES if "classes" in options else recipes.NUMBERS
    net = nets.make(recipes.REALMLP, inputs, task, 3 if "classes" in options else 1, 10).model
    plain = to_onnx(net.trace(), "net", {}, ["y"])
    file = assemble(columns, plain, **options)
    kinds = {node.op_type for node in file.graph.node}
    assert kinds >= {*there}
    assert not kinds & {*gone}
    if made["gaps"] > 0 and made["full"] < 5:
        assert "clipped" in next(n for n in file.graph.node if n.op_type == "Concat" and "features" in n.output).input

    def predict(table: Table) -> Array:
        return answers_of(net, columns.transform(table).arrays)

    assert prove(file, columns, predict, 2000).rows == 2000
    unlike = assemble(columns, plain, fold=False, **options)
    odd = columns.draw(np.random.default_rng(5), 300)
    for rows in (odd, odd.take(np.arange(1)), odd.take(np.arange(0))):
        one, other = run(file, rows), run(unlike, rows)
        for output in one:
            assert one[output].shape == other[output].shape
            assert one[output].dtype == other[output].dtype


# -- Runner -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["columns", "columns of rank 1", "matrices"])
def served(request: pytest.FixtureRequest) -> tuple[Runner, Callable[[Table], Array]]:
    columns = Columns().fit(every_kind())
    model, net = small(columns, 3, "softmax")
    file = assemble(columns, net, classes=["a", "b", "c"], **LAYOUTS[request.param])
    return Runner(file), predicting(columns, model)


def test_a_pickle_answers_tables_as_the_model_does(served: tuple[Runner, Callable[[Table], Array]]) -> None:
    runner, predict = served
    again = pickle.loads(pickle.dumps(runner))
    table = every_kind()
    for name, given in holders(table).items():
        got = again.predict_probabilities(given)
        np.testing.assert_array_equal(got, runner.predict_probabilities(given), err_msg=name)
        np.testing.assert_allclose(got, predict(table), atol=2e-6, err_msg=name)
    assert again.class_names == ["a", "b", "c"]
    np.testing.assert_array_equal(again.predict_labels(table), runner.predict_labels(table))


def holders(table: Table) -> dict[str, Any]:
    import polars as pl
    import pyarrow as pa

    frame = pd.DataFrame({name: table[name] for name in table.names})
    lists = {name: [None if pd.isna(cell) else cell for cell in frame[name]] for name in frame}
    return {
        "a table": table,
        "a mapping of arrays": {name: table[name] for name in table.names},
        "a mapping of lists": lists,
        "rows": [{name: cells[i] for name, cells in lists.items()} for i in range(len(table))],
        "pandas": frame,
        "pandas, nullable": frame.convert_dtypes(),
        "polars": pl.from_pandas(frame),
        "pyarrow": pa.Table.from_pandas(frame),
        "other order, another column": frame[frame.columns[::-1]].assign(other=[["no", "cell"]] * len(frame)),
    }


def test_a_runner_takes_tables(served: tuple[Runner, Callable[[Table], Array]]) -> None:
    runner, predict = served
    for rows in (1, 3, 50):
        table = every_kind(50, seed=5).take(np.arange(rows))
        for name, data in holders(table).items():
            given = runner.predict_probabilities(data)
            np.testing.assert_allclose(given, predict(table), atol=2e-6, err_msg=name)
            assert runner.predict_labels(data).tolist() == [*np.array(["a", "b", "c"])[given.argmax(axis=1)]]
    assert runner.class_names == ["a", "b", "c"]


def test_what_a_runner_refuses(served: tuple[Runner, Callable[[Table], Array]]) -> None:
    runner, _ = served
    frame = holders(every_kind(5))["pandas"]
    wrong: list[tuple[Any, str]] = [
        (frame.drop(columns="when"), "given no 'when'"),
        (frame.drop(columns=["when", "few"]), "given no '(few|when)', '(few|when)'"),
        (np.zeros((2, 14)), "takes columns by name"),
        ({**frame.to_dict("list"), "few": ["a"]}, "differ in length|same shape"),
        ({**frame.to_dict("list"), "few": [["a"], {}, "a", "a", "a"]}, "holds|is not an array"),
    ]
    for x, message in wrong:
        with pytest.raises(ValueError, match=message) as caught:
            runner.predict(x)
        assert "\n" not in str(caught.value)


def test_a_runner_says_of_texts_what_training_did(served: tuple[Runner, Callable[[Table], Array]]) -> None:
    """Numbers that came as text, the traps of None and NaN, and cells that are no number."""
    runner, predict = served
    rows: dict[str, list[Any]] = {
        "age": ["34", "none", None], "gaps": ["", "?", "1.5"], "income": [1, 2, 3], "large": [None, "nan", 1.7e12],
        "few": [None, float("nan"), "value 1"], "two": ["nan", "None", ""], "many": ["value 3", 3, True],
        "long tail": ["v1", "", None], "truth": ["true", "False", None], "grade": [None, "top", "low"],
        "when": ["2020-01-05", "soon", None], "day": ["2020-01-05T10:00", None, "x"],
    }  # fmt: skip
    np.testing.assert_allclose(runner.predict_probabilities(rows), predict(Table.of(rows)), atol=2e-6)


def test_the_file_says_what_its_columns_are(columns: Columns) -> None:
    file = assemble(columns, small(columns, 3, "softmax")[1], classes=["a", "b", "c"])
    metadata = {entry.key: entry.value for entry in file.metadata_props}
    told = json.loads(metadata[COLUMNS_KEY])
    assert told["columns"] == {n: k for n, k in columns.kinds.items() if k not in ("constant", "identifier")}
    types = {info.name: info.type.tensor_type.elem_type for info in file.graph.input}
    assert {name for name, kind in types.items() if kind == TensorProto.DOUBLE} == {"large", "when", "day"}
    assert {name for name, kind in types.items() if kind == TensorProto.STRING} == {
        "few", "two", "many", "long tail", "grade"
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_random_tables(seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = every_kind(int(rng.integers(5, 300)), seed)
    names = [name for name in whole.names if rng.random() < 0.5] or ["age"]
    columns = Columns(one_hot_up_to=int(rng.integers(0, 10)), scaled_flags=bool(rng.random() < 0.5)).fit(
        whole.select({"age", *names})
    )
    for options in LAYOUTS.values():
        odd = columns.draw(rng, 500)
        np.testing.assert_array_equal(echoed(columns, odd, **options), beside(columns.transform(odd)))
