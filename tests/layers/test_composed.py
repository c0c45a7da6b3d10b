"""Layers that are compositions of fastdl.ops: values by numpy, files, ONNX, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import fastdl
from fastdl import layers
from fastdl.errors import ShapeError
from fastdl.models import load_model

Array = np.ndarray[Any, Any]
X, Y = np.random.default_rng(0).standard_normal((2, 20, 3, 4)).astype(np.float32)


def normal(x: Array, *axes: int) -> Array:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-3)


def unit(x: Array, axis: int) -> Array:
    return x / np.linalg.norm(x, axis=axis, keepdims=True)


ONE: dict[str, tuple[Callable[[], layers.Layer], Callable[[Array], Array]]] = {
    "rms": (layers.RMSNormalization, lambda x: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)),
    "rms of two axes": (
        lambda: layers.RMSNormalization([-1, 1]),
        lambda x: x / np.sqrt((x**2).mean((1, 2), keepdims=True) + 1e-6),
    ),
    "unit": (layers.UnitNormalization, lambda x: unit(x, -1)),
    "unit of axis 1": (lambda: layers.UnitNormalization(1), lambda x: unit(x, 1)),
    "layer norm of rank 3": (layers.LayerNormalization, lambda x: normal(x, 2)),
    "layer norm of two axes": (lambda: layers.LayerNormalization([1, 2]), lambda x: normal(x, 1, 2)),
    "one group": (lambda: layers.GroupNormalization(1), lambda x: normal(x, 1, 2)),
    "two groups": (
        lambda: layers.GroupNormalization(2),
        lambda x: normal(x.reshape(-1, 3, 2, 2), 1, 3).reshape(x.shape),
    ),
    "a group a feature": (lambda: layers.GroupNormalization(-1), lambda x: normal(x, 1)),
    "groups of axis 1": (lambda: layers.GroupNormalization(3, 1), lambda x: normal(x, 2)),
    "permute": (lambda: layers.Permute((2, 1)), lambda x: x.transpose(0, 2, 1)),
    "lambda": (lambda: layers.Lambda(fastdl.ops.tanh), np.tanh),
}
TWO: dict[str, tuple[Callable[[], layers.Layer], Callable[[Array, Array], Array]]] = {
    "maximum": (layers.Maximum, np.maximum),
    "minimum": (layers.Minimum, np.minimum),
    "dot": (lambda: layers.Dot(2), lambda x, y: np.einsum("nik,njk->nij", x, y)),
    "dot of axis 1": (lambda: layers.Dot((1, 1)), lambda x, y: np.einsum("nki,nkj->nij", x, y)),
    "cosine": (lambda: layers.Dot(-1, True), lambda x, y: np.einsum("nik,njk->nij", unit(x, -1), unit(y, -1))),
    "behind each other": (lambda: layers.Concatenate(1), lambda x, y: np.concatenate([x, y], 1)),
    "side by side": (layers.Concatenate, lambda x, y: np.concatenate([x, y], -1)),
}


@pytest.mark.parametrize("name", ONE)
def test_of_one(name: str) -> None:
    make, expected = ONE[name]
    np.testing.assert_allclose(make()(X), expected(X), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", TWO)
def test_of_two_trains_and_comes_back(name: str, tmp_path: Path) -> None:
    make, expected = TWO[name]
    np.testing.assert_allclose(make()([X, Y]), expected(X, Y), rtol=2e-4, atol=2e-5)
    a, b = fastdl.Input((3, 4)), fastdl.Input((3, 4))
    joined = make()([layers.Dense(4)(a), b])
    model = fastdl.Model([a, b], layers.Dense(2)(layers.Flatten()(joined)))
    model.compile("adam", "mse")
    assert np.isfinite(model.fit([X, Y], X[:, 0, :2], epochs=2, verbose=0).history["loss"]).all()
    model.save(tmp_path / "model.fastdl")
    wanted = model.predict([X, Y])
    np.testing.assert_array_equal(load_model(tmp_path / "model.fastdl").predict([X, Y]), wanted)
    model.export(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    names = [each.name for each in session.get_inputs()]
    np.testing.assert_allclose(
        session.run(None, dict(zip(names, [X, Y], strict=True)))[0], wanted, rtol=1e-3, atol=1e-5
    )


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "axis of the batch": (lambda: layers.RMSNormalization(0)(X), ValueError, "axes of a sample"),
    "axis of another kind": (lambda: layers.UnitNormalization("last"), TypeError, "axis"),
    "groups": (lambda: layers.GroupNormalization(0), ValueError, "argument `groups`"),
    "too many groups": (lambda: layers.GroupNormalization(5)(X), ValueError, "more than the number of channels"),
    "groups that do not fit": (lambda: layers.GroupNormalization(3)(X), ValueError, "multiple"),
    "no permutation": (lambda: layers.Permute((0, 1)), ValueError, "Invalid permutation"),
    "other rank": (lambda: layers.Permute((1,))(X), ShapeError, "permutes 1 axes"),
    "dot of other sizes": (lambda: layers.Dot((1, 2))([X, Y]), ShapeError, "not of one size"),
    "dot of one": (lambda: layers.Dot(1)([X]), ShapeError, "two tensors"),
    "mask": (lambda: layers.Lambda(np.tanh, mask=1), ValueError, "mask must be None"),
    "a lambda in a file": (lambda: layers.serialize(layers.Lambda(lambda x: x)), ValueError, "cannot be told"),
    "a config that holds a function": (
        lambda: layers.Lambda.from_config(layers.Lambda(lambda x: x).get_config()),
        ValueError,
        "safe_mode=False",
    ),
    "around no layer": (lambda: layers.SpectralNormalization("dense"), ValueError, "layer must be a layer"),
    "a norm of no kernel": (lambda: layers.SpectralNormalization(layers.ReLU())(X), ValueError, "neither a kernel"),
    "no iterations": (
        lambda: layers.SpectralNormalization(layers.Dense(2), 0),
        ValueError,
        "power_iterations must be a positive integer",
    ),
    "dtype": (lambda: layers.Dense(3, dtype="float16"), ValueError, "dtype must be float32"),
    "both shapes": (lambda: fastdl.Input((3,), batch_shape=(None, 3)), ValueError, "give batch_shape=.* alone"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name: str) -> None:
    make, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        make()


def test_built_by_its_shape_alone() -> None:
    layer = layers.Dense(3)
    layer.build((None, 4))
    assert layer.built
    assert [weight.shape for weight in layer.weights] == [(4, 3), (3,)]
    assert layers.ReLU().built
    assert not layers.Dense(3).built
    assert layers.ReLU()(np.array([-1.0, 2.0])).tolist() == [0.0, 2.0]
