"""FeatureSpace: columns by kind, in Keras's order and sizes; the same from arrays and within models."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pytest

import fastdl
from fastdl import layers
from fastdl.errors import DataError, FusionError, ModelFileError
from fastdl.utils import FeatureSpace

Array = np.ndarray[Any, Any]
FLOATS, INTS = [i / 10 for i in range(10)], list(range(10))
DATA: dict[str, list[Any]] = {
    **{f"float_{i}": FLOATS for i in (1, 2, 3)},
    **{f"int_{i}": INTS for i in (1, 2, 3)},
    **{f"string_{i}": list(map(str, INTS)) for i in (1, 2)},
}
NUMBERS = {
    "float_1": "float",
    "float_2": "float_normalized",
    "float_3": "float_discretized",
    "int_1": "integer_categorical",
    "int_2": "integer_hashed",
    "int_3": "integer_categorical",
}
ALL = {**NUMBERS, "string_1": "string_categorical", "string_2": "string_hashed"}
FIRST = {name: values[0] for name, values in DATA.items()}


def space(features: Any = None, crosses: Any = None, **options: Any) -> FeatureSpace:
    made = FeatureSpace(features or ALL, crosses=crosses, **options)
    made.adapt(DATA)
    return made


@pytest.mark.parametrize(
    ("features", "crosses", "width"),
    [
        (NUMBERS, [("int_1", "int_2"), ("int_2", "int_3")], 152),
        (ALL, [("float_3", "string_1"), ("string_2", "int_2")], 195),
    ],
)
def test_sizes_of_keras(features: Any, crosses: Any, width: int) -> None:
    """As Keras's own tests have them, for rows and for a single one."""
    made = space(features, crosses)
    assert made(DATA).shape == (10, width)
    assert made(FIRST).shape == (width,)
    np.testing.assert_array_equal(made(FIRST), made(DATA)[0])


def test_a_mapping_of_features() -> None:
    made = space(crosses=[("float_3", "string_1"), ("string_2", "int_2")], output_mode="dict")
    found = made(DATA)
    shapes = {name: array.shape[1] for name, array in found.items()}
    assert list(found) == [*sorted(ALL), "float_3_X_string_1", "string_2_X_int_2"]
    assert shapes == {"float_1": 1, "float_2": 1, "float_3": 32, "int_1": 11, "int_2": 32, "int_3": 11,
                      "string_1": 11, "string_2": 32, "float_3_X_string_1": 32, "string_2_X_int_2": 32}  # fmt: skip
    np.testing.assert_array_equal(
        np.concatenate([*found.values()], 1), space(crosses=made.crosses)(DATA)
    )  # side by side in this order


def test_each_kind_is_its_layer() -> None:
    found = space(
        {
            "float_1": FeatureSpace.float(),
            "float_2": FeatureSpace.float_rescaled(2.0, -1.0),
            "float_3": FeatureSpace.float_discretized(bin_boundaries=[0.25, 0.5]),
            "int_1": FeatureSpace.integer_categorical(max_tokens=4),
            "int_2": FeatureSpace.integer_hashed(3),
            "int_3": FeatureSpace.integer_categorical(num_oov_indices=2, output_mode="int"),
            "string_1": FeatureSpace.string_categorical(max_tokens=3),
            "string_2": FeatureSpace.string_hashed(4, output_mode="int"),
        },
        [FeatureSpace.cross(("string_1", "int_1"), 7, output_mode="int")],
        output_mode="dict",
    )(DATA)
    x = np.float32(FLOATS)[:, None]
    np.testing.assert_array_equal(found["float_1"], x)
    np.testing.assert_array_equal(found["float_2"], x * np.float32(2) - 1)
    np.testing.assert_array_equal(found["float_3"], np.eye(3)[np.digitize(FLOATS, [0.25, 0.5])])
    np.testing.assert_array_equal(found["int_1"], np.eye(4)[[0] * 7 + [3, 2, 1]])  # ties: the largest come first
    np.testing.assert_array_equal(found["int_2"], np.eye(3)[layers.Hashing(3)(INTS)])
    np.testing.assert_array_equal(found["int_3"], np.arange(11, 1, -1)[:, None])
    np.testing.assert_array_equal(found["string_1"], np.eye(3)[[0] * 8 + [2, 1]])
    np.testing.assert_array_equal(found["string_2"][:, 0], layers.Hashing(4)(DATA["string_2"]))
    crossing = layers.HashedCrossing(7)([np.array([0] * 8 + [2, 1]), np.array([0] * 7 + [3, 2, 1])])
    np.testing.assert_array_equal(found["string_1_X_int_1"][:, 0], crossing)
    assert found["string_2"].dtype == np.int64


def test_normalized() -> None:
    found = space({"float_1": "float_normalized"})(DATA)
    np.testing.assert_allclose(found[:, 0], (np.array(FLOATS) - np.mean(FLOATS)) / np.std(FLOATS), rtol=1e-5)


def rows() -> Iterator[dict[str, Any]]:
    yield from ({name: values[i] for name, values in DATA.items()} for i in range(10))


def labelled() -> Iterator[tuple[dict[str, Any], Array]]:
    for part in (slice(0, 4), slice(4, 10)):
        yield {name: np.array(values[part]) for name, values in DATA.items()}, np.zeros(1)


SOURCES: dict[str, Callable[[], Any]] = {
    "mapping": lambda: DATA,
    "pandas": lambda: pandas.DataFrame({**DATA, "more": INTS}),
    "polars": lambda: polars.DataFrame(DATA),
    "rows": rows,
    "list of rows": lambda: list(rows()),
    "batches (x, y)": labelled,
    "batches of frames": lambda: [pandas.DataFrame(DATA).iloc[:7], pandas.DataFrame(DATA).iloc[7:]],
}


@pytest.mark.parametrize("source", SOURCES)
def test_learns_the_same_from_any_source(source: str) -> None:
    made = FeatureSpace(ALL)
    made.adapt(SOURCES[source]())
    np.testing.assert_array_equal(made(DATA), space()(DATA))


@pytest.mark.parametrize("frame", [pandas.DataFrame, polars.DataFrame])
def test_frames_are_encoded(frame: Any) -> None:
    made = space()
    np.testing.assert_array_equal(made(frame({**DATA, "more": INTS})), made(DATA))


@pytest.mark.parametrize("mode", ["concat", "dict"])
def test_models_of_raw_columns(mode: str, tmp_path: Path) -> None:
    made = space(crosses=[("string_1", "int_1")], output_mode=mode)
    encoded = made.get_encoded_features()
    features = layers.concatenate(list(encoded.values())) if mode == "dict" else encoded
    model = fastdl.Model(made.get_inputs(), layers.Dense(1)(features))
    model.compile("adam", "mse")
    model.fit(DATA, FLOATS, epochs=2, verbose=0)
    found = made(DATA)
    x = np.concatenate(list(found.values()), 1) if mode == "dict" else found
    kernel, bias = model.layers[-1].get_weights()
    np.testing.assert_allclose(model.predict(DATA), x @ kernel + bias, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model.predict(pandas.DataFrame(DATA)), model.predict(DATA))
    model.save(tmp_path / "model.fastdl")
    np.testing.assert_array_equal(fastdl.load_model(tmp_path / "model.fastdl").predict(DATA), model.predict(DATA))
    with pytest.raises(FusionError, match="hashes, which ONNX has no operator for"):
        model.export(tmp_path / "model.onnx")


def test_a_model_without_hashes_is_exported(tmp_path: Path) -> None:
    made = space({name: kind for name, kind in ALL.items() if "hashed" not in kind})
    model = fastdl.Model(made.get_inputs(), layers.Dense(2, "softmax")(made.get_encoded_features()))
    report = model.export(tmp_path / "model.onnx", verify={name: DATA[name] for name in made.features})
    assert report.predict_max_abs_error is not None
    assert report.predict_max_abs_error < 1e-5
    table = {name: np.array(DATA[name], object if "string" in name else None)[:, None] for name in made.features}
    found = fastdl.Runner(tmp_path / "model.onnx").predict(table)
    np.testing.assert_allclose(found, model.predict(table), atol=1e-6)


def test_a_layer_of_any_kind() -> None:
    custom = FeatureSpace.feature("string", layers.StringLookup(vocabulary=["1", "3"], output_mode="count"), "float")
    made = FeatureSpace({"string_1": custom})  # there is nothing to adapt
    np.testing.assert_array_equal(made(DATA)[:4], [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize("how", ["file", "pickle", "deepcopy"])
def test_copies_are_the_same(how: str, tmp_path: Path) -> None:
    made = space(crosses=[("float_3", "string_1")])
    if how == "file":
        made.save(tmp_path / "space.fastdl")
    other = {
        "file": lambda: FeatureSpace.load(tmp_path / "space.fastdl"),
        "pickle": lambda: pickle.loads(pickle.dumps(made)),
        "deepcopy": lambda: copy.deepcopy(made),
    }[how]()
    np.testing.assert_array_equal(other(DATA), made(DATA))
    assert other.get_config() == made.get_config()
    model = fastdl.Model(other.get_inputs(), layers.Dense(1)(other.get_encoded_features()))
    assert model.predict(DATA).shape == (10, 1)
    other.adapt({**DATA, "string_1": ["new"] * 10})  # it learns anew
    assert other(DATA).shape == (10, made(DATA).shape[1] - 9)


def test_files_that_hold_none_are_refused(tmp_path: Path) -> None:
    fastdl.Sequential([fastdl.Input((2,)), layers.Dense(1)]).save(tmp_path / "model.fastdl")
    with pytest.raises(ModelFileError, match="holds no FeatureSpace"):
        FeatureSpace.load(tmp_path / "model.fastdl")
    space().save(tmp_path / "space.fastdl")
    with pytest.raises(ModelFileError, match="space"):
        fastdl.load_model(tmp_path / "space.fastdl")


def without(name: str) -> dict[str, Any]:
    return {each: values for each, values in DATA.items() if each != name}


REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: FeatureSpace({}), ValueError, "features must be a mapping"),
    (lambda: FeatureSpace({"a": "flaot"}), ValueError, "feature 'a'"),
    (lambda: FeatureSpace({"a": "float"}, output_mode="list"), ValueError, "output_mode must be 'concat' or 'dict'"),
    (lambda: FeatureSpace({"a": "string_hashed"}, crosses=[("a", "b")]), ValueError, "crosses"),
    (lambda: FeatureSpace({"a": "string_hashed"}, crosses=[("a",)]), ValueError, "two features or more"),
    (lambda: FeatureSpace(ALL, crosses=[("float_1", "int_1")]), ValueError, "use 'float_discretized'"),
    (lambda: FeatureSpace(ALL, crossing_dim=0), ValueError, "crossing_dim"),
    (lambda: FeatureSpace(ALL)(DATA), ValueError, "call adapt(data) first"),
    (lambda: FeatureSpace(ALL).get_encoded_features(), ValueError, "call adapt(data) first"),
    (lambda: FeatureSpace(ALL).save("x"), ValueError, "call adapt(data) first"),
    (lambda: FeatureSpace(ALL).adapt(without("int_1")), DataError, "no column 'int_1'"),
    (lambda: FeatureSpace(ALL).adapt(3), DataError, "must be a mapping of columns or a frame, not int"),
    (lambda: FeatureSpace(ALL).adapt([]), DataError, "no batches to adapt to"),
    (lambda: FeatureSpace(ALL).adapt([np.zeros(3)]), DataError, "a batch to adapt to must be a mapping"),
    (lambda: space()({**DATA, "int_1": ["a"] * 10}), DataError, "column 'int_1' must hold real numbers"),
    (lambda: space()({**DATA, "string_1": INTS}), DataError, "column 'string_1' must hold strings"),
    (lambda: space()({**DATA, "int_3": INTS[:4]}), DataError, "column 'int_3' must have shape (10,)"),
    (lambda: space()({**DATA, "int_3": np.zeros((10, 2))}), DataError, "must have shape (rows,) or (rows, 1)"),
    (
        lambda: space({"int_1": FeatureSpace.integer_categorical(output_mode="int"), "float_1": "float"}),
        ValueError,
        "feature 'int_1' is not encoded",
    ),
    (
        lambda: space({"float_1": FeatureSpace.feature("float32", layers.Rescaling(2.0), "one_hot")}),
        ValueError,
        "how many indices a Rescaling gives is not known",
    ),
]


@pytest.mark.parametrize(("make", "kind", "said"), REFUSED)
def test_what_is_wrong_is_said(make: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind) as error:
        make()
    assert said in str(error.value)
    assert "\n" not in str(error.value)
