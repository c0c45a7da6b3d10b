"""A model that was trained on a frame takes the columns of another by name, in whatever order they stand."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl as keras
from fastdl import layers, models
from fastdl.errors import DataError, ModelFileError
from fastdl.models import tensor_file

rng = np.random.default_rng(0)
DATA = rng.standard_normal((40, 3)) * [1, 10, 100]
Y = DATA @ [1.0, 0.1, 0.01]
NAMES = ["age", "size", "mass"]
ORDER = [2, 0, 1]


@pytest.fixture(params=["pandas", "polars"])
def frame(request: Any) -> Callable[..., Any]:
    library = pytest.importorskip(request.param)

    def make(order: list[int] = [0, 1, 2], names: list[str] = NAMES) -> Any:  # noqa: B006
        return library.DataFrame({names[i]: DATA[:, i] for i in order})

    return make


def net(*first: layers.Layer) -> keras.Sequential:
    model = keras.Sequential([*first, layers.Dense(4, "relu"), layers.Dense(1)])
    model.compile("adam", "mse")
    return model


def trained(x: Any, *first: layers.Layer) -> keras.Sequential:
    model = net(*first)
    model.fit(x, Y, epochs=2, verbose=0)
    return model


def test_columns_are_taken_by_name(frame: Any) -> None:
    model = trained(frame())
    expected, loss = model.predict(DATA), model.evaluate(DATA, Y)
    moved = frame(ORDER)
    assert model.feature_names == NAMES
    assert np.array_equal(model.predict(moved), expected)
    assert np.array_equal(model.predict(frame()), expected)
    assert np.array_equal(model(moved), expected)
    assert np.array_equal(model.predict(iter([(moved, Y)])), expected)
    assert model.evaluate(moved, Y) == loss
    assert model.evaluate([(moved, Y)]) == pytest.approx(loss)
    assert model.fit(DATA, Y, verbose=0, validation_data=(moved, Y)).history["val_loss"] == [model.evaluate(DATA, Y)]


def test_training_goes_on_with_the_same_columns(frame: Any) -> None:
    model, other = (trained(frame()) for _ in range(2))
    other.set_weights(model.get_weights())
    assert model.train_on_batch(frame(ORDER), Y) == other.train_on_batch(DATA, Y)


@pytest.mark.parametrize(
    ("order", "names", "message"),
    [
        ([0, 1], NAMES, r"x must have the columns that were learnt from, 'age', 'size', 'mass': it lacks 'mass'$"),
        ([0, 1, 2], ["age", "size", "weight"], r"it lacks 'mass' and has 'weight'$"),
    ],
)
def test_other_columns_are_refused_by_name(frame: Any, order: Any, names: Any, message: str) -> None:
    model = trained(frame())
    for call in (
        lambda x: model.predict(x),
        lambda x: model.evaluate(x, Y),
        lambda x: model.fit(x, Y, verbose=0),
        lambda x: model.fit(DATA, Y, verbose=0, validation_data=(x, Y)),
    ):
        with pytest.raises(DataError, match=message):
            call(frame(order, names))


def test_columns_of_one_name_are_refused() -> None:
    pandas = pytest.importorskip("pandas")
    doubled = pandas.DataFrame(DATA, columns=["a", "b", "b"])
    with pytest.raises(DataError, match="x has the column 'b' twice"):
        trained(doubled)
    with pytest.raises(DataError, match="twice"):
        trained(pandas.DataFrame(DATA, columns=list("abc"))).predict(doubled)


def test_arrays_have_no_names(frame: Any) -> None:
    model = trained(frame())
    model.fit(DATA, Y, verbose=0)
    assert model.feature_names == NAMES
    plain = trained(DATA)
    assert plain.feature_names is None
    assert np.array_equal(plain.predict(frame()), plain.predict(DATA))
    assert plain.feature_names is None
    plain.feature_names = NAMES
    assert np.array_equal(plain.predict(frame(ORDER)), plain.predict(DATA))
    plain.feature_names = None
    for wrong in (["a", "b"], ["a", "b", "b"], "abc", [1, 2, 3]):
        with pytest.raises(DataError, match="feature"):
            plain.feature_names = wrong


def test_they_stay_with_the_model(frame: Any, tmp_path: Path) -> None:
    model = trained(frame())
    model.save(tmp_path / "model.safetensors")
    clone = models.clone_model(model)
    clone.set_weights(model.get_weights())
    for other in (
        models.load_model(tmp_path / "model.safetensors"),
        models.load_model(tmp_path / "model.safetensors", compile=False),
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
        clone,
    ):
        assert other.feature_names == NAMES
        assert np.array_equal(other.predict(frame(ORDER)), model.predict(DATA))


def test_an_exported_file_names_them(frame: Any, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    for fuse in (True, False):
        trained(frame()).export(tmp_path / "model.onnx", fuse=fuse)
        metadata = {each.key: each.value for each in onnx.load(tmp_path / "model.onnx").metadata_props}
        assert json.loads(metadata["fastdl.feature_names"]) == NAMES


@pytest.mark.parametrize("names", [["a", "b"], {"other": NAMES}, {"input": ["a", "a", "b"]}, 7, {"input": [1, 2, 3]}])
def test_a_file_with_names_that_do_not_fit_is_refused(names: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    trained(DATA).save(path)
    content = tensor_file.read(path)
    tensor_file.write(path, content.tensors, {**content.notes, "feature_names": names})
    with pytest.raises(ModelFileError, match="feature"):
        models.load_model(path)


@pytest.mark.parametrize("learns", [True, False], ids=["fitted on a frame", "fitted on an array"])
def test_a_layer_that_adapted_to_a_frame_knows_its_columns(frame: Any, learns: bool, tmp_path: Path) -> None:
    scale = layers.Normalization()
    scale.adapt(frame())
    model = trained(frame(ORDER) if learns else DATA, scale)
    assert model.feature_names == NAMES
    expected = model.predict(DATA)
    assert np.array_equal(model.predict(frame(ORDER)), expected)
    mean = scale.mean
    scale.adapt(frame(ORDER))  # the layer is built: its columns stay where they are
    np.testing.assert_allclose(scale.mean, mean)
    model.save(tmp_path / "model.safetensors")
    assert models.load_model(tmp_path / "model.safetensors").feature_names == NAMES


def test_several_inputs_have_columns_each(frame: Any) -> None:
    left, right = keras.Input((2,), name="left"), keras.Input((1,), name="right")
    model = keras.Model([left, right], layers.Dense(1)(layers.Concatenate()([left, right])))
    model.compile("sgd", "mse")
    one, two = frame([0, 1]), frame([2])
    model.fit({"left": one, "right": two}, Y, verbose=0)
    assert model.feature_names == {"left": NAMES[:2], "right": NAMES[2:]}
    expected = model.predict([DATA[:, :2], DATA[:, 2:]])
    assert np.array_equal(model.predict({"left": frame([1, 0]), "right": DATA[:, 2:]}), expected)
    with pytest.raises(DataError, match=r"x\['right'\] must have the columns"):
        model.predict([one, frame([0])])
