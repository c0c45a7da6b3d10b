"""Weights from data: unit variance of each unit, biases within the hull of what units see, in nets of any shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers
from fastdl.errors import DataError

Array = np.ndarray[Any, Any]


def data(rows: int = 400, features: int = 9) -> Array:
    rng = np.random.default_rng(1)
    return rng.standard_normal((rows, features)) * np.linspace(0.01, 30, features) + np.arange(features)


def plain(dtype: str = "float64", activation: Any = "relu") -> fastdl.Sequential:
    return fastdl.Sequential(
        [
            *(fastdl.Input((9,)), layers.Dense(40, activation), layers.Dropout(0.5), layers.Dense(33, "tanh")),
            *(layers.Dense(21, use_bias=False), layers.Dense(5, "softmax")),
        ],
        dtype=dtype,
    )


def before_activations(model: fastdl.Sequential, x: Array) -> list[tuple[Array, Array]]:
    """x W and b of each dense layer, by numpy."""
    found = []
    for layer in model.layers:
        if isinstance(layer, layers.Dense):
            bias = layer.bias.numpy() if layer.bias else np.zeros(layer.units)
            found.append((x @ layer.kernel.numpy(), bias))
            x = activated(layer, *found[-1])
    return found


def activated(layer: Any, outputs: Array, bias: Array) -> Array:
    z = outputs + bias
    return np.asarray({"relu": np.maximum(z, 0), "tanh": np.tanh(z)}.get(layer.activation.__name__, z))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_unit_has_variance_1_and_bends_within_the_data(dtype: str) -> None:
    model, x = plain(dtype), data()
    fastdl.initialize_from_data(model, x)
    for i, (outputs, bias) in enumerate(before_activations(model, x)):
        np.testing.assert_allclose(outputs.std(axis=0), 1, rtol=1e-4 if dtype == "float32" else 1e-10)
        if i == 2:  # which has no bias
            continue
        assert (-bias >= outputs.min(axis=0) - 1e-4).all()
        assert (-bias <= outputs.max(axis=0) + 1e-4).all()
        # a convex combination with weights Exp(1) / sum of 5 draws has 1/3 of one draw's variance
        spread = ((-bias - outputs.mean(axis=0)) ** 2).mean()
        assert 0.05 < spread < 1.0


def test_biases_are_convex_combinations_of_so_many_rows() -> None:
    """With one point each, a bias is minus what the unit sees in one row; on two rows, five lie between both."""
    model, x = fastdl.Sequential([fastdl.Input((9,)), layers.Dense(50)], dtype="float64"), data()
    fastdl.initialize_from_data(model, x, bias_points=1)
    kernel, bias = model.get_weights()
    assert np.abs(x @ kernel + bias).min(axis=0).max() < 1e-12
    rows = np.abs(x @ kernel + bias).argmin(axis=0)
    assert len(set(rows.tolist())) > 30  # each unit has its own
    fastdl.initialize_from_data(model, x[:2])
    kernel, bias = model.get_weights()
    share = (-bias - (x[0] @ kernel)) / ((x[1] - x[0]) @ kernel)
    assert ((share > -1e-9) & (share < 1 + 1e-9)).all()
    assert share.std() > 0.1
    model.set_weights([kernel, np.full(50, 7.0)])
    fastdl.initialize_from_data(model, x, bias_points=0)
    assert (model.get_weights()[1] == 7).all()


def test_draws_follow_the_seed() -> None:
    results = []
    for seed in (3, 3, 4):
        model = plain("float32")
        fastdl.utils.set_random_seed(seed)
        fastdl.initialize_from_data(model, data(3000), sample_size=300)
        results.append(model.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(results[0], results[1], strict=True))
    assert not np.array_equal(results[0][0], results[2][0])


def test_output_layers_exclusion_and_frozen_layers() -> None:
    x = data()
    for how in ("zeros", "keep", "data"):
        model = plain()
        model.build((None, 9))
        before = model.get_weights()
        model.layers[2].trainable = False
        fastdl.initialize_from_data(model, x, output_layers=how, exclude=[model.layers[3]])
        changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
        assert changed == [True, True, False, False, False, how != "keep", how == "data"]
        assert model.layers[-1].get_weights()[0].any() == (how != "zeros")


def test_constant_inputs_and_dead_units_keep_their_draw() -> None:
    model = fastdl.Sequential([fastdl.Input((3,)), layers.Dense(4), layers.Dense(2)], dtype="float64")
    fastdl.initialize_from_data(model, np.full((20, 3), 2.0))
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert np.abs(model.get_weights()[0]).max() < 10


def test_several_inputs_and_shared_layers() -> None:
    rng = np.random.default_rng(0)
    a, b = fastdl.Input((4,), name="a", dtype="float64"), fastdl.Input((6,), name="b", dtype="float64")
    shared = layers.Dense(8, "tanh")
    joined = layers.Concatenate()([layers.Dense(5)(a), layers.Dense(5)(b)])
    first, second = layers.Dense(3), layers.Dense(1)
    model = fastdl.Model([a, b], [first(shared(joined)), second(shared(layers.Dense(10)(joined)))])
    model.build([(None, 4), (None, 6)])
    x = {"a": 100 * rng.standard_normal((200, 4)), "b": rng.standard_normal((200, 6))}
    fastdl.initialize_from_data(model, x, output_layers="zeros")
    assert not any(result.any() for result in model.predict(x))
    inner = fastdl.Model([a, b], joined).predict(x)
    biases = [layer.bias.numpy() for layer in model.layers if isinstance(layer, layers.Dense) and layer.units == 5]
    np.testing.assert_allclose((inner - np.concatenate(biases)).std(axis=0), 1, rtol=1e-10)
    np.testing.assert_allclose((inner @ shared.kernel.numpy()).std(axis=0), 1, rtol=1e-10)


def test_members_of_an_ensemble() -> None:
    """Shared kernels see the rows of all members, an EnsembleDense each member's own."""
    source = fastdl.Input((9,), dtype="float64")
    x = layers.EnsembleScale()(layers.RepeatVector(4)(source))
    shared, heads = layers.Dense(16, "tanh"), layers.EnsembleDense(3)
    hidden = shared(x)
    model, rows = fastdl.Model(source, heads(hidden)), data()
    fastdl.initialize_from_data(model, rows)
    seen = fastdl.Model(source, x).predict(rows)
    np.testing.assert_allclose((seen @ shared.kernel.numpy()).std(axis=(0, 1)), 1, rtol=1e-10)
    inner, kernels = fastdl.Model(source, hidden).predict(rows), heads.kernel.numpy().reshape(4, 16, 3)
    np.testing.assert_allclose(np.einsum("nkd,kdu->nku", inner, kernels).std(axis=0), 1, rtol=1e-10)


def test_training_goes_on_from_it() -> None:
    model, x = plain("float32"), data().astype(np.float32)
    x = (x - x.mean(0)) / x.std(0)
    labels = (x @ np.random.default_rng(2).standard_normal((9, 5))).argmax(1)
    fastdl.initialize_from_data(model, x)
    model.compile(fastdl.optimizers.Adam(0.005), "sparse_categorical_crossentropy", metrics=["accuracy"])
    assert model.fit(x, labels, epochs=30, verbose=0).history["accuracy"][-1] > 0.8


WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "output layers": (
        lambda: fastdl.initialize_from_data(plain(), data(), output_layers="zero"),
        ValueError,
        "output_layers must be one of 'data', 'zeros', 'keep', not 'zero'",
    ),
    "points": (lambda: fastdl.initialize_from_data(plain(), data(), bias_points=-1), ValueError, "bias_points must be"),
    "sample": (lambda: fastdl.initialize_from_data(plain(), data(), sample_size=1), ValueError, "sample_size must be"),
    "one row": (lambda: fastdl.initialize_from_data(plain(), data(1)), DataError, "x has one row"),
    "NaN": (lambda: fastdl.initialize_from_data(plain(), np.full((5, 9), np.nan)), DataError, "NaN"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_say_what_is_wrong(case: str) -> None:
    call, kind, message = WRONG[case]
    with pytest.raises(kind, match=message):
        call()
