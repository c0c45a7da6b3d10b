"""How layers are called and built: tensors in any place, values by name, shapes that keep what is known of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastdl
from fastdl import Input, layers, ops, saving
from fastdl.compiler.graph import Parameter
from fastdl.errors import ConfigError, ShapeError

Array = np.ndarray[Any, Any]
A, B = np.random.default_rng(0).standard_normal((2, 6, 4)).astype(np.float32)


@saving.register_keras_serializable("calls")
class Two(layers.Layer):
    """Of two tensors, by position or by name, and a value."""

    def call(self, a: Any, b: Any = None, scale: float = 1.0) -> Any:
        return a * scale if b is None else a * scale - b


@saving.register_keras_serializable("calls")
class Named(layers.Layer):
    """Of a mapping, which may lack a tensor."""

    def call(self, inputs: Any) -> Any:
        return inputs["a"] if inputs.get("b") is None else inputs["a"] - inputs["b"]


@saving.register_keras_serializable("calls")
class Listed(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs[0] if inputs[1] is None else inputs[0] - inputs[1]


@saving.register_keras_serializable("calls")
class Parts(layers.Layer):
    """Gives a mapping."""

    def call(self, x: Any) -> Any:
        return {"double": x * 2.0, "pair": [x, -x]}


CALLS: dict[str, tuple[Callable[[Any, Any], Any], Array]] = {
    "by position": (lambda a, b: Two()(a, b), A - B),
    "by name": (lambda a, b: Two()(b=b, a=a), A - B),
    "one by name": (lambda a, b: Two()(a, b=b, scale=3.0), 3 * A - B),
    "one tensor twice": (lambda a, b: Two()(a, b=a, scale=3.0), 2 * A),
    "a value": (lambda a, b: Two()(a, scale=2.0), 2 * A),
    "a mapping": (lambda a, b: Named()({"a": a, "b": b}), A - B),
    "a mapping with None": (lambda a, b: Named()({"a": a, "b": None}), A),
    "a list": (lambda a, b: Listed()([a, b]), A - B),
    "a tuple with None": (lambda a, b: Listed()((a, None)), A),
    "of a mapping": (lambda a, b: layers.Add()([Parts()(a)["double"], Parts()(b)["pair"][1]]), 2 * A - B),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls(name: str, tmp_path: Path) -> None:
    """On arrays, in a model, and in that model from a file and as a copy."""
    call, expected = CALLS[name]
    np.testing.assert_allclose(call(A, B), expected, rtol=1e-6)
    inputs = [Input((4,), name="a"), Input((4,), name="b")]
    model = fastdl.Model(inputs, layers.Concatenate()([call(*inputs), inputs[1]]))
    model.save(tmp_path / "model.fastdl")
    for each in (model, fastdl.load_model(tmp_path / "model.fastdl"), fastdl.models.clone_model(model)):
        np.testing.assert_allclose(each.predict([A, B]), np.concatenate([expected, B], 1), rtol=1e-6)


class Shapes(layers.Layer):
    """Remembers what it was built with."""

    seen: Any = None


class ByName(Shapes):
    def build(self, c_shape: Any, a_shape: Any) -> None:
        self.seen = {"a": a_shape, "c": c_shape}

    def call(self, a: Any, b: Any = None, c: Any = None) -> Any:
        return a[:, :1] + b[:, :1] + c[:, :1]


class First(Shapes):
    def build(self, anything: Any) -> None:
        self.seen = anything

    def call(self, a: Any, b: Any) -> Any:
        return a[:, :1] + b[:, :1]


class NoSuffix(Shapes):
    def build(self, a_shape: Any, b: Any) -> None:
        raise AssertionError

    def call(self, a: Any, b: Any) -> Any:
        return a + b


class NoSuch(NoSuffix):
    def build(self, a_shape: Any, z_shape: Any) -> None:
        raise AssertionError


def test_build_is_given_the_shapes_of_the_arguments_that_it_names() -> None:
    x, y, z = np.ones((4, 1)), np.ones((4, 2)), np.ones((4, 3))
    by_name, first = ByName(), First()
    by_name(x, y, z)
    first(y, x)
    assert by_name.seen == {"a": (4, 1), "c": (4, 3)}
    assert first.seen == (4, 2)
    again = ByName()
    again.build(a_shape=(None, 5), c_shape=(None, 6))
    assert again.seen == {"a": (None, 5), "c": (None, 6)}
    assert again.built


class Stateful(layers.Layer):
    def call(self, x: Any) -> Any:
        self.late = self.add_weight(shape=())
        return x


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "a value by position": (lambda: Two()(Input((4,)), 3.0), ValueError, "Only input tensors"),
    "training by position": (lambda: layers.Dropout(0.5)(A, True), ValueError, "Only input tensors"),
    "build without a shape": (lambda: NoSuffix()(A, B), ValueError, "`b`, which does not end in `_shape`"),
    "build of no argument": (lambda: NoSuch()(A, B), ValueError, "does not have argument `z`"),
    "a name first": (lambda: layers.Layer().add_weight("w"), ValueError, "name must be passed as a keyword"),
    "two shapes": (lambda: Two().add_weight((2,), shape=(2,)), ValueError, "both positionally and as a keyword"),
    "four by position": (lambda: Two().add_weight((2,), "ones", "float32", "w"), TypeError, "at most 3 positional"),
    "a weight of no known size": (lambda: Two().add_weight((2, None)), ShapeError, "sizes must be known"),
    "a weight in call": (lambda: Stateful()(A), ValueError, "cannot add new elements of state"),
    "trainable of another kind": (lambda: layers.Dense(2, trainable=1), ValueError, "trainable must be a boolean"),
    "a config that is none": (lambda: layers.Dense.from_config({"units": 0.5}), ConfigError, "units must be"),
    "batches of two sizes": (
        lambda: layers.Add()([Input((4,), batch_size=2), Input((4,), batch_size=3)]),
        ShapeError,
        "batches of different sizes",
    ),
    "an unknown size, compiled": (
        lambda: fastdl.Model(x := Input((None, 4)), layers.Dense(2)(x)),
        ShapeError,
        "has a size that is not known",
    ),
    "an unknown size that is needed": (lambda: layers.Dense(2)(Input((4, None))), ShapeError, "takes"),
    "whole numbers in a program": (lambda: Whole()(A), TypeError, "is of int32, and programs compute with floats"),
    "a number alone": (lambda: layers.ReLU()(3.0), ShapeError, "not one number"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name: str) -> None:
    make, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        make()


class Whole(layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.count = self.add_weight(dtype="int32", trainable=False)
        self.flag = self.add_weight(dtype="bool", trainable=False)
        self.scale = self.add_weight()
        self.table = self.add_weight((2, 3), "ones")

    def call(self, x: Any) -> Any:
        return x * self.count


def test_defaults_of_weights_are_keras() -> None:
    layer = Whole()
    assert [weight.dtype.name for weight in layer.weights] == ["int32", "bool", "float32", "float32"]
    assert [weight.shape for weight in layer.weights] == [(), (), (), (2, 3)]
    assert (layer.count.numpy(), layer.flag.numpy()) == (0, False)
    assert (layer.table.numpy() == 1).all()


class Owner(layers.Layer):
    """Its weights and layers are attributes, one of them there before the base is made, and some in a mapping."""

    def __init__(self) -> None:
        self.own = Parameter("owner/own", (4,), np.dtype(np.float32), np.ones(4))
        super().__init__()
        self._inner, self.several = layers.Dense(4), {"a": [layers.Dense(2)], "b": layers.Dense(1)}
        self.error = fastdl.metrics.MeanSquaredError()

    def call(self, x: Any) -> Any:
        y = self._inner(x * self.own)
        return layers.Concatenate()([self.several["a"][0](y), self.several["b"](y)])


def test_attributes_are_owned_and_trained() -> None:
    layer = Owner()
    model = fastdl.Sequential([Input((4,)), layer])
    assert [weight.shape for weight in layer.weights] == [(4,), (4, 4), (4,), (4, 2), (2,), (4, 1), (1,)]
    assert len(layer.metrics) == 1
    assert layer.metrics_variables == layer.error.variables
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(A, B[:, :3], verbose=0)
    assert all((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
    layer.trainable = False
    assert layer.trainable_weights == []
    layer.trainable = True
    assert len(layer.trainable_weights) == 7


SHAPES: list[tuple[Callable[[], Any], tuple[Any, ...], tuple[Any, ...]]] = [
    (lambda: layers.Dense(3), (2, 4), (2, 3)),
    (lambda: layers.Dense(3), (None, 5, 4), (None, 5, 3)),
    (lambda: layers.Dense(3), (2, None, 4), (2, None, 3)),
    (layers.ReLU, (2, 3), (2, 3)),
    (layers.ReLU, (1,), (1,)),
    (layers.Flatten, (5, 2, 3), (5, 6)),
    (layers.Flatten, (5, 2, None), (5, None)),
    (layers.Flatten, (5,), (5, 1)),
    (lambda: layers.Reshape((-1, 8)), (None, 6, 4), (None, 3, 8)),
    (lambda: layers.Reshape((-1, 3)), (4, 6, None, 3), (4, None, 3)),
    (lambda: layers.Reshape((3, 5)), (2, None), (2, 3, 5)),
    (lambda: layers.RepeatVector(3), (2, None), (2, 3, None)),
    (lambda: layers.Permute((2, 1)), (2, 3, None), (2, None, 3)),
    (lambda: layers.Embedding(5, 3), (2, None), (2, None, 3)),
    (lambda: layers.Embedding(5, 3), (2,), (2, 3)),
    (lambda: layers.Dropout(0.5), (2, None, 3), (2, None, 3)),
]


@pytest.mark.parametrize(("make", "shape", "expected"), SHAPES)
def test_shapes_keep_what_is_known(make: Callable[[], Any], shape: Any, expected: Any) -> None:
    layer = make()
    assert layer.compute_output_shape(shape) == expected
    assert layer.weights == []
    assert layer(Input(batch_shape=shape)).shape == expected
    assert layer.compute_output_spec(Input(batch_shape=shape)).shape == expected


class Told(layers.Layer):
    """Says its shape, and is never called."""

    def call(self, x: Any) -> Any:
        raise AssertionError

    def compute_output_shape(self, input_shape: Any) -> Any:
        return {"same": input_shape, "two": (input_shape, [(*input_shape, 2)])}


def test_a_shape_that_is_told_is_enough() -> None:
    found = Told().compute_output_spec(Input((3,), batch_size=2))
    assert found["same"].shape == (2, 3)
    assert found["two"][1][0].shape == (2, 3, 2)


class Pair(NamedTuple):
    left: Any
    right: Any


class Paired(layers.Layer):
    """Gives a named tuple, and says so."""

    def call(self, x: Any) -> Any:
        return Pair(x, x * 2)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return Pair(input_shape, input_shape)


def test_named_tuples_of_shapes_are_such_of_tensors() -> None:
    found = Paired().compute_output_spec(Input((3,)))
    assert isinstance(found, Pair)
    assert (found.left.shape, found.right.shape) == ((None, 3), (None, 3))


def test_known_batches_are_told_and_any_are_taken() -> None:
    x = Input((4,), batch_size=2)
    y = layers.Dense(3)(x + 1.0)
    assert (x.shape, y.shape) == ((2, 4), (2, 3))
    assert layers.Dot(1)([x, Input((4,), batch_size=2)]).shape == (2, 1)
    model = fastdl.Model(x, y)
    assert model.predict(A).shape == (6, 3)
    assert ops.mean(x, axis=0).shape == (4,)


class Losses(layers.Layer):
    def call(self, x: Any) -> Any:
        self.add_loss(ops.sum(x))
        self.add_loss(ops.mean(ops.square(x), axis=-1))
        return x


def test_losses_that_are_added_on_arrays() -> None:
    layer = Losses(activity_regularizer="l2")
    for _ in range(2):  # those of the last use alone
        layer(A)
        np.testing.assert_allclose(layer.losses, [0.01 * (A**2).sum() / 6, A.sum(), (A**2).mean()], rtol=1e-5)
    layer(A[:0])
    assert layer.losses == [0, 0, 0]
    numbers = layers.ActivityRegularization(l1=1.0)
    assert numbers(np.float32([1, -2, 3])).shape == (3,)
    assert numbers.losses == [2]


class Outer(layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.noise = layers.Dropout(0.5)

    def call(self, x: Any) -> Any:
        return self.noise(x)


def test_training_holds_for_layers_within() -> None:
    x = Input((4,))
    model = fastdl.Model(x, Outer()(x, training=True))
    assert (model(np.ones((50, 4))) == 0).any()
    assert (model.predict(np.ones((50, 4))) == 1).all()  # predict says False, and that counts (Keras)
    assert (Outer()(np.ones((50, 4)), training=True) == 0).any()
    assert (Outer()(np.ones((50, 4))) == 1).all()


def test_losses_that_are_added_in_models_on_arrays() -> None:
    model = fastdl.Sequential([Losses()])
    for each in (model, fastdl.Sequential([model])):
        each(A)
        np.testing.assert_allclose(each.losses, [A.sum(), (A**2).mean()], rtol=1e-5)


def test_models_of_one_number_a_sample(tmp_path: Path) -> None:
    x = np.linspace(0, 1, 40, dtype=np.float32)
    for first in ([Input(()), layers.Rescaling(2.0)], []):
        model = fastdl.Sequential([*first, layers.Flatten(), layers.Dense(8, "relu"), layers.Dense(1)])
        model.compile(fastdl.optimizers.Adam(0.05), "mse")
        losses = model.fit(x, 3 * x, epochs=20, verbose=0).history["loss"]
        assert losses[-1] < 0.3 * losses[0]
        assert model.input_shape == (None,)
        model.save(tmp_path / "model.fastdl")
        np.testing.assert_array_equal(fastdl.load_model(tmp_path / "model.fastdl").predict(x), model.predict(x))
        model.export(tmp_path / "model.onnx", verify=x)
        np.testing.assert_allclose(fastdl.Runner(tmp_path / "model.onnx").predict(x), model.predict(x), rtol=1e-5)
