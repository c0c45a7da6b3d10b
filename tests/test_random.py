"""Keras's `random` on arrays: moments and bounds, what each seed does, and what is refused."""

from __future__ import annotations

import copy
import pickle
import random as pythons
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import random
from fastdl.errors import ShapeError

Array = np.ndarray[Any, Any]
SHAPE = 400, 250
N = 400 * 250
CUT = 0.8796256610342398  # the standard deviation that a normal cut at two standard deviations has left
LOGITS = np.log(np.array([[0.5, 0.3, 0.2]] * 400))

# name: (draw by a seed, its mean, its standard deviation, least, most)
DRAWS: dict[str, tuple[Callable[[Any], Array], float, float, float, float]] = {
    "normal": (lambda s: random.normal(SHAPE, 2.0, 0.5, seed=s), 2, 0.5, -np.inf, np.inf),
    "truncated": (lambda s: random.truncated_normal(SHAPE, 1.0, 2.0, seed=s), 1, 2 * CUT, -3, 5),
    "uniform": (lambda s: random.uniform(SHAPE, -1.0, 3.0, seed=s), 1, 4 / 12**0.5, -1, 3),
    "randint": (lambda s: random.randint(SHAPE, 2, 6, seed=s), 3.5, 1.25**0.5, 2, 5),
    "gamma": (lambda s: random.gamma(SHAPE, 4.0, seed=s), 4, 2, 0, np.inf),
    "beta": (lambda s: random.beta(SHAPE, 2.0, 3.0, seed=s), 0.4, 0.2, 0, 1),
    "binomial": (lambda s: random.binomial(SHAPE, 10, 0.2, seed=s), 2, 1.6**0.5, 0, 10),
    "categorical": (lambda s: random.categorical(LOGITS, 250, seed=s), 0.7, 0.61**0.5, 0, 2),
    "dropout": (lambda s: random.dropout(np.ones(SHAPE), 0.2, seed=s), 1, 0.5, 0, 1.25),
    "shuffle": (lambda s: random.shuffle(np.arange(N, dtype="float64") / N, seed=s), 0.5, 12**-0.5, 0, 1),
}


@pytest.mark.parametrize("name", DRAWS)
def test_moments_bounds_and_seeds(name: str) -> None:
    draw, mean, deviation, least, most = DRAWS[name]
    values = draw(7)
    assert values.shape == (SHAPE if name != "shuffle" else (N,))
    assert abs(values.mean(dtype=np.float64) - mean) < 4 * deviation / N**0.5
    assert values.std(dtype=np.float64) == pytest.approx(deviation, rel=0.02)
    assert least <= values.min()
    assert values.max() <= most
    np.testing.assert_array_equal(values, draw(7))
    generators = [random.SeedGenerator(3) for _ in range(2)]
    one, other = ([draw(generator) for _ in range(2)] for generator in generators)
    np.testing.assert_array_equal(one, other)
    assert not np.array_equal(*one)
    fastdl.utils.set_random_seed(5)
    first, second = draw(None), draw(None)
    fastdl.utils.set_random_seed(5)
    np.testing.assert_array_equal(first, draw(None))
    assert not np.array_equal(first, second)


def test_dtypes() -> None:
    assert random.normal((2,)).dtype == random.binomial((2,), 3, 0.5).dtype == fastdl.config.floatx()
    assert random.gamma((2,), [1.0, 2.0], dtype="float64").dtype == "float64"
    assert random.randint((2,), 0, 9).dtype == random.categorical(LOGITS, 1).dtype == "int32"
    assert random.categorical(LOGITS, 1, dtype="int64").dtype == "int64"


def test_dropout_of_a_shape_and_shuffle_of_an_axis() -> None:
    x = np.arange(1.0, 13).reshape(3, 4)
    rows = random.dropout(x, 0.5, noise_shape=(3, 1), seed=1)
    assert set(map(tuple, (rows == 0).tolist())) == {(True,) * 4, (False,) * 4}
    columns = random.shuffle(x, axis=1, seed=2)
    assert not np.array_equal(columns, x)
    np.testing.assert_array_equal(np.sort(columns, axis=1), x)
    assert np.array_equal(columns - columns[0], x - x[0])
    assert not random.dropout(x, 1.0).any()


class Dropping(fastdl.layers.Layer):
    """As Keras's guide has people write it."""

    def __init__(self, rate: float = 0.25) -> None:
        super().__init__()
        self.rate, self.seed_generator = rate, random.SeedGenerator(1337)

    def call(self, inputs: Any) -> Any:
        return random.dropout(inputs, self.rate, seed=self.seed_generator)


def test_dropout_in_a_layers_call() -> None:
    model = fastdl.Sequential([fastdl.Input((50,)), Dropping()])
    x = np.ones((400, 50), np.float32)
    first, second = model.predict(x, batch_size=400), model.predict(x, batch_size=400)
    for y in (first, second):
        assert set(np.unique(y)) == {0, np.float32(4 / 3)}
        assert (y == 0).mean() == pytest.approx(0.25, abs=0.02)
    dense = fastdl.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = fastdl.Sequential([fastdl.Input((50,)), Dropping(), dense])
    model.compile(fastdl.optimizers.SGD(1.0), lambda y_true, y_pred: y_pred)
    model.fit(x, np.zeros(400), batch_size=400, verbose=0)
    slopes = 1 - dense.get_weights()[0]  # of each number the mean of what came through: its gradient
    assert slopes.mean() == pytest.approx(1, abs=0.02)
    assert slopes.std() == pytest.approx((1 / 3 / 400) ** 0.5, rel=0.3)


def test_what_others_draw_follows_the_seed_too() -> None:
    drawn = []
    for _ in range(2):
        fastdl.utils.set_random_seed(11)
        drawn.append((pythons.random(), np.random.random()))  # noqa: NPY002 # as Keras's
    assert drawn[0] == drawn[1]


def test_a_prediction_draws_others_than_the_one_before_and_a_seed_makes_all_of_them_again() -> None:
    def predictions() -> list[Array]:
        model = fastdl.Sequential([fastdl.Input((20,)), Dropping(0.5)])
        return [model.predict(np.ones((rows, 20), np.float32)) for rows in (32, 32, 600, 600)]

    first, again = predictions(), predictions()
    assert (first[0] != first[1]).any()
    assert (first[2] != first[3]).any()
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))


def test_a_seed_generator_steps_and_is_made_again() -> None:
    generator = random.SeedGenerator(8, name="mine")
    np.testing.assert_array_equal([generator.next(), generator.next()], [[8, 0], [8, 1]])
    assert generator.get_config() == {"seed": 8, "name": "mine"}
    np.testing.assert_array_equal(random.SeedGenerator.from_config(generator.get_config()).next(), [8, 0])
    for other in (copy.deepcopy(generator), pickle.loads(pickle.dumps(generator))):
        np.testing.assert_array_equal(other.next(), [8, 2])
    jumped = [tuple(generator.next(ordered=False)) for _ in range(50)]
    assert len(set(jumped)) == 50


WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "seed": (lambda: random.normal((2,), seed=1.5), ValueError, "seed must be an integer of zero or more, a SeedG"),  # type: ignore[arg-type]
    "generator": (lambda: random.SeedGenerator(-1), ValueError, r"integer in \[0, 2\*\*32\), or None, not -1"),
    "float": (lambda: random.uniform((2,), dtype="int32"), ValueError, "dtype must be a float's, not 'int32'"),
    "integer": (lambda: random.randint((2,), 0, 2, "float32"), ValueError, "must be an integer's, not 'float32'"),
    "logits": (lambda: random.categorical([1.0], 2), ShapeError, r"\(rows, classes\), not \(1,\)"),
    "rate": (lambda: random.dropout([1.0], 1.5), ValueError, r"rate must lie in \[0, 1\]"),
    "a seed in a model": (
        lambda: random.dropout(fastdl.Input((3,)), 0.5, seed=3),
        ValueError,
        "must be a SeedGenerator",
    ),
    "a model's shape": (lambda: random.dropout(fastdl.Input((3,)), 0.5, (1, 3)), ValueError, "noise_shape must be"),
    "all in a model": (lambda: random.dropout(fastdl.Input((3,)), 1.0), ValueError, r"rate must lie in \[0, 1\)"),
    "tensor": (lambda: random.shuffle(fastdl.Input((3,))), TypeError, "drawn by layers, as layers.Dropout"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls_say_what_is_wrong(name: str) -> None:
    call, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.peer
def test_names_and_arguments_are_keras() -> None:
    import inspect

    keras = pytest.importorskip("keras")
    for name, theirs in vars(keras.random).items():
        if not name.startswith("_") and callable(theirs):
            ours = inspect.signature(getattr(random, name)).parameters
            for argument, parameter in inspect.signature(theirs).parameters.items():
                if parameter.kind is not parameter.VAR_KEYWORD:
                    assert ours[argument].default == parameter.default, (name, argument)
