"""Predictions of rows like those before take a shorter way: the answers, and what is refused, are the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers, ops
from fastdl.errors import DataError, ShapeError

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def model(*hidden: Any, sample: tuple[int, ...] = (4,)) -> fastdl.Sequential:
    fastdl.utils.set_random_seed(0)
    return fastdl.Sequential([fastdl.Input(sample), *hidden, layers.Dense(2, "softmax")])


def by_slices(net: Any, x: Any) -> Any:
    """What a batch size of one's own makes `predict` compute the long way."""
    return net.predict(x, batch_size=2)


def fortran() -> Any:
    return np.asfortranarray(X)


def strided() -> Any:
    wide = np.zeros((3, 8), np.float32)
    wide[:, ::2] = X
    return wide[:, ::2]


def read_only() -> Any:
    x = X.copy()
    x.flags.writeable = False
    return x


def unaligned() -> Any:
    x = np.ndarray((3, 4), np.float32, np.zeros(49, np.uint8), offset=1)
    x[:] = X
    return x


LIKE_X: dict[str, Callable[[], Any]] = {
    "as it was": lambda: X,
    "by columns": fortran,
    "every second number": strided,
    "read only": read_only,
    "not aligned": unaligned,
    "float64": lambda: X.astype(np.float64),
    "the other byte order": lambda: X.astype(">f4"),
    "a list": lambda: X.tolist(),
    "a subclass": lambda: X.view(np.recarray),
}


@pytest.mark.parametrize("how", LIKE_X)
def test_arrays_of_one_shape(how: str) -> None:
    net = model(layers.Dense(5, "relu"))
    expected = net.predict(X)
    for _ in range(3):
        np.testing.assert_array_equal(net.predict(LIKE_X[how]()), expected)


def test_a_nan_stays_in_its_row() -> None:
    net = model()
    expected = net.predict(X)
    broken = X.copy()
    broken[1, 2] = np.nan
    answer = net.predict(broken)
    assert np.isnan(answer[1]).all()
    np.testing.assert_array_equal(answer[[0, 2]], expected[[0, 2]])


def test_the_answer_is_a_new_array_each_time() -> None:
    net = model()
    one, other = net.predict(X), net.predict(X)
    assert not np.shares_memory(one, other)


def scaled(net: Any) -> None:
    net.set_weights([2 * weight for weight in net.get_weights()])


def trained(net: Any) -> None:
    net.compile("sgd", "mse")
    net.fit(X, np.ones((3, 2), np.float32), verbose=0)


def longer(net: Any) -> None:
    net.add(layers.Dense(3))


def of_another_rate(net: Any) -> None:
    net.layers[0].trainable = False


@pytest.mark.parametrize("change", [scaled, trained, longer, of_another_rate])
def test_a_model_that_has_changed(change: Callable[[Any], None]) -> None:
    net = model(layers.BatchNormalization())
    net.predict(X)
    change(net)
    expected = by_slices(net, X)
    for _ in range(2):
        np.testing.assert_array_equal(net.predict(X), expected)


def test_rows_of_another_shape_are_refused_after_as_before() -> None:
    pictures = model(layers.Flatten(), sample=(2, 2))
    pictures.predict(X.reshape(3, 2, 2))
    with pytest.raises(ShapeError):
        pictures.predict(X)
    net = model()
    net.predict(X)
    with pytest.raises(ShapeError):
        net.predict(X[:, :3])


def test_codes_are_looked_at_each_time() -> None:
    net = model(layers.Embedding(5, 3), layers.Flatten())
    codes = np.array([[0, 1, 2, 3]], np.float32)
    net.predict(codes)
    with pytest.raises(DataError, match="5"):
        net.predict(codes + 4)


def test_noise_that_acts_in_predictions_goes_on() -> None:
    @fastdl.utils.register_keras_serializable()
    class Noisy(layers.Layer):
        def call(self, x: Any) -> Any:
            return fastdl.random.dropout(x, 0.5, seed=fastdl.random.SeedGenerator(1))

    net = model(Noisy())
    assert not np.array_equal(net.predict(X), net.predict(X))


def test_one_output_by_name_stays_by_name() -> None:
    x = fastdl.Input((4,))
    net = fastdl.Model(x, {"a": layers.Dense(2)(x)})
    for _ in range(2):
        assert list(net.predict(X)) == ["a"]


def test_whole_numbers_stay_whole() -> None:
    x = fastdl.Input((4,))
    net = fastdl.Model(x, ops.argmax(x, axis=-1))
    for _ in range(2):
        np.testing.assert_array_equal(np.asarray(net.predict(X)).reshape(-1), X.argmax(axis=1))


def test_training_acts_as_asked() -> None:
    net = model(layers.BatchNormalization())
    still = net.predict(X)
    assert not np.array_equal(net.predict(X, training=True), still)
    np.testing.assert_array_equal(net.predict(X), still)
