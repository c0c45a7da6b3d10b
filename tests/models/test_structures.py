"""Inputs and outputs in any structure: nested lists, tuples and mappings, through training, files, copies and ONNX."""

from __future__ import annotations

import copy
import json
import pickle
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import fastdl as keras
from fastdl import layers, tree
from fastdl.errors import DataError, DataWarning

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(3)
X, Z, V = (RNG.standard_normal((40, n)).astype(np.float32) for n in (4, 3, 2))
Ends = namedtuple("Ends", ["near", "far"])


def _three() -> tuple[Any, Any, Any]:
    return keras.Input((4,), name="x"), keras.Input((3,), name="z"), keras.Input((2,), name="v")


def mapping_in_mapping() -> keras.Model:
    x, z, v = _three()
    h = layers.Dense(5)(layers.Concatenate()([x, z]))
    return keras.Model({"x": x, "rest": {"z": z, "v": v}}, {"h": h, "ends": {"far": layers.Dense(2)(v), "near": h + 1}})


def list_of_mappings() -> keras.Model:
    x, z, v = _three()
    return keras.Model([{"a": x}, (z, v)], [layers.Dense(1)(x), (layers.Dense(2)(z), layers.Dense(3)(v))])


def named_tuple() -> keras.Model:
    x, z, _ = _three()
    return keras.Model((x, z), Ends(layers.Dense(1)(x), layers.Dense(2)(z)))


def nested_list_of_one() -> keras.Model:
    x = keras.Input((4,), name="x")
    return keras.Model([[x]], layers.Dense(2)(x))


def an_input_as_it_is() -> keras.Model:
    x, z, _ = _three()
    return keras.Model({"x": x, "z": z}, {"double": x * 2, "same": z})


def one_tensor_twice() -> keras.Model:
    x = keras.Input((4,), name="x")
    h = layers.Dense(2)(x)
    return keras.Model(x, {"a": h, "b": h})


class Mapped(keras.Model):
    """A model of one's own, which takes and gives mappings."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = layers.Dense(3), layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        return {"one": self.first(inputs["x"]), "both": (self.second(inputs["z"]), self.first(inputs["x"]) * 2)}


MODELS: dict[str, tuple[Callable[[], keras.Model], Any]] = {
    "mapping in mapping": (mapping_in_mapping, {"x": X, "rest": {"v": V, "z": Z}}),
    "list of mappings": (list_of_mappings, [{"a": X}, (Z, V)]),
    "named tuple": (named_tuple, (X, Z)),
    "nested list of one": (nested_list_of_one, [[X]]),
    "an input as it is": (an_input_as_it_is, {"x": X, "z": Z}),
    "one tensor twice": (one_tensor_twice, X),
    "of one's own": (Mapped, {"x": X, "z": Z}),
}
models = pytest.mark.parametrize("name", MODELS)


def alike(a: Any, b: Any) -> None:
    tree.assert_same_structure(a, b)
    tree.map_structure(np.testing.assert_array_equal, a, b)


@models
def test_it_gives_what_it_was_made_of(name: str) -> None:
    make, x = MODELS[name]
    model = make()
    answers = model.predict(x)
    alike(model(x), answers)
    alike(
        model.predict(x, batch_size=7, callbacks=[keras.callbacks.LambdaCallback(on_predict_batch_end=print)]), answers
    )
    parts = [tree.map_structure(lambda a, i=i: a[i : i + 10], x) for i in range(0, 40, 10)]
    batches = model.predict((part,) for part in parts)
    tree.map_structure(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), batches, answers)
    if name != "of one's own":
        tree.assert_same_structure(model.output, answers)
        symbols = model(tree.map_structure(lambda a: keras.Input(a.shape[1:]), x))
        assert tree.map_structure(lambda s: s.shape[1:], symbols) == tree.map_structure(lambda a: a.shape[1:], answers)


@models
def test_it_trains_on_targets_of_the_same_structure(name: str) -> None:
    make, x = MODELS[name]
    model = make()
    targets = tree.map_structure(lambda a: a * 0 + 1, model.predict(x))
    model.compile("sgd", "mse")
    losses = model.fit(x, targets, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0] or not model.weights
    answers = model.predict(x)
    squares = tree.flatten(tree.map_structure(lambda a, y: np.mean((a - y) ** 2), answers, targets))
    assert model.evaluate(x, targets, return_dict=True)["loss"] == pytest.approx(sum(squares), rel=1e-5)


@models
def test_copies_and_files(name: str, tmp_path: Path) -> None:
    make, x = MODELS[name]
    model = make()
    answers = model.predict(x)
    if name == "of one's own":
        model.save_weights(tmp_path / "w.fastdl")
        other = make()
        other(x)
        other.load_weights(tmp_path / "w.fastdl")
        alike(other.predict(x), answers)
        return
    model.save(tmp_path / "m.fastdl")
    for other in (keras.load_model(tmp_path / "m.fastdl"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        if name != "named tuple":  # a file knows it as a tuple
            alike(other.predict(x), answers)
    again = keras.Model.from_config(json.loads(json.dumps(model.get_config())))
    assert again.get_config() == model.get_config()
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    alike(tree.flatten(clone.predict(x)), tree.flatten(answers))


@models
def test_the_file_gives_the_outputs_in_order(name: str, tmp_path: Path) -> None:
    make, x = MODELS[name]
    model = make()
    answers = tree.flatten(model.predict(x))
    model.export(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    feeds = dict(zip([each.name for each in session.get_inputs()], tree.flatten(x), strict=True))
    for ours, theirs in zip(answers, session.run(None, feeds), strict=True):
        np.testing.assert_allclose(theirs, ours, atol=1e-6)


def test_inputs_in_another_structure() -> None:
    x, z = keras.Input((4,), name="x"), keras.Input((4,), name="z")
    difference, other = layers.Subtract()([x, z]), X[::-1].copy()
    by_key, listed = keras.Model({"x": x, "z": z}, difference), keras.Model([x, z], difference)
    with pytest.warns(DataWarning, match="The structure of `inputs` doesn't match the expected structure"):
        np.testing.assert_array_equal(by_key.predict([X, other]), X - other)
    with pytest.warns(DataWarning, match="doesn't match"):
        np.testing.assert_array_equal(by_key({"x": X, "z": other, "more": X}), X - other)
    np.testing.assert_array_equal(listed.predict({"z": other, "x": X}), X - other)
    np.testing.assert_array_equal(listed.predict((X, other)), X - other)
    with pytest.raises(DataError, match="doesn't match"):
        keras.Model({"z": z, "x": x}, difference).predict([X, other])  # whose order nobody can tell
    with pytest.raises(DataError, match="'y' is wrong"):
        listed.predict({"x": X, "y": other})
    with pytest.raises(DataError, match="list of 2 arrays"):
        listed.predict([X])


def test_layers_of_ones_own_take_any_arguments() -> None:
    class Either(layers.Layer):
        def call(self, x: Any, y: Any = None, scale: float = 1.0) -> Any:
            return {"sum": x * scale if y is None else (x + y) * scale}

    x, z = keras.Input((4,)), keras.Input((4,))
    layer = Either()
    outputs = [layer(x)["sum"], layer(x, z)["sum"], layer(x, y=z, scale=3.0)["sum"]]
    alone, both, scaled = keras.Model([x, z], outputs).predict([X, X])
    np.testing.assert_array_equal(alone, X)
    np.testing.assert_array_equal(both, 2 * X)
    np.testing.assert_allclose(scaled, 6 * X, rtol=1e-6)
    np.testing.assert_array_equal(Either()(X, None)["sum"], X)
    np.testing.assert_array_equal(Either()(X, y=X, scale=2.0)["sum"], 4 * X)


def test_a_call_is_told_whether_it_trains() -> None:
    """As in Keras: fit says True, evaluate and predict False, a call what it was given."""

    class Doubled(layers.Layer):
        def call(self, x: Any, training: bool | None = None) -> Any:
            return 2 * x if training else x

    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.doubled = Doubled()

        def call(self, x: Any) -> Any:
            return self.doubled(x)

    inputs = keras.Input((4,))
    for model in (keras.Model(inputs, Doubled()(inputs)), keras.Sequential([Doubled()]), Own()):
        model.compile("sgd", "mse")
        zeros = np.zeros_like(X)
        assert model.fit(X, zeros, verbose=0).history["loss"][0] == pytest.approx(np.mean((2 * X) ** 2), rel=1e-5)
        assert model.evaluate(X, zeros) == pytest.approx(np.mean(X**2), rel=1e-5)
        np.testing.assert_array_equal(model.predict(X), X)
        np.testing.assert_array_equal(model(X), X)
        np.testing.assert_array_equal(model(X, training=True), 2 * X)
    np.testing.assert_array_equal(Doubled()(X, training=True), 2 * X)


def test_what_is_said_of_training_holds_within() -> None:
    class Block(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.drop = layers.Dropout(0.5)

        def call(self, x: Any) -> Any:
            return self.drop(x)

    ones = np.ones((50, 20), np.float32)
    assert set(np.unique(Block()(ones, training=True))) == {0.0, 2.0}
    np.testing.assert_array_equal(Block()(ones), ones)
    inputs = keras.Input((20,))
    model = keras.Model(inputs, layers.Dropout(0.5)(inputs, training=True))
    np.testing.assert_array_equal(model.predict(ones), ones)  # predict says False, and that counts (Keras)
    assert set(np.unique(model(ones))) == {0.0, 2.0}


def test_optional_inputs(tmp_path: Path) -> None:
    class Sum(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, x: Any, y: Any = None) -> Any:
            return self.dense(x if y is None else x + y)

    x, y = keras.Input((4,), name="x"), keras.Input((4,), name="y", optional=True)
    model = keras.Model({"x": x, "y": y}, Sum()(x, y))
    targets = X[:, :2]
    one, both = {"x": X, "y": None}, {"x": X, "y": X}
    np.testing.assert_array_equal(model.predict(both), model.predict({"x": 2 * X, "y": None}))
    np.testing.assert_array_equal(model(one), model.predict(one))
    assert not np.array_equal(model(one), model(both))
    model.compile("sgd", "mse")
    for data in (one, both):
        before = model.evaluate(data, targets)
        model.fit(data, targets, epochs=3, verbose=0)
        assert model.evaluate(data, targets) < before
    model.fit(((data, targets) for data in (one, both, one)), verbose=0)
    parts = model.predict(iter([(one,), (both,)]))
    np.testing.assert_allclose(parts, np.concatenate([model.predict(one), model.predict(both)]), rtol=1e-6)
    again = keras.Model.from_config(json.loads(json.dumps(keras.Model(x, layers.Dense(1)(x)).get_config())))
    assert again.optional == frozenset()
    assert keras.models.clone_model(model).optional == {1}
    for call in (model.predict, model):
        with pytest.raises(DataError, match="'x' is not optional, but None was given"):
            call({"x": None, "y": X})


def test_an_axis_of_one_comes_and_goes() -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2)(inputs))
    np.testing.assert_array_equal(model(X[..., None]), model(X))
    inputs = keras.Input((4, 1))
    model = keras.Model(inputs, layers.Dense(2)(inputs))
    assert model(X).shape == (40, 4, 2)


@pytest.mark.parametrize("structure", [{"a": (None, 3)}, [{"a": (None, 3)}], ({"a": [None, 3]},)], ids=str)
def test_a_model_is_built_by_shapes_in_any_structure(structure: Any) -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs["a"] if isinstance(inputs, dict) else inputs[0]["a"])

    model = Own()
    model.build(structure)
    assert model.dense.kernel.shape == (3, 2)


def test_one_call_warns_once() -> None:
    x = keras.Input((4,), name="x")
    with pytest.warns(DataWarning) as warned:
        keras.Model({"x": x}, layers.Dense(1)(x))({"x": X, "more": X})
    assert len(warned) == 1
