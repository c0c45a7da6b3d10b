"""Initializers by their moments, bounds, seeds and names."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

import fastdl
import fastdl as keras
from fastdl import initializers, layers
from fastdl.errors import ShapeError
from fastdl.initializers import Initializer

Array = np.ndarray[Any, Any]

IN, OUT = 400, 250
AVERAGE = (IN + OUT) / 2
CUT = 0.8796256610342398  # the standard deviation that a normal cut at two standard deviations has left

# what: (initializer of a (400, 250) kernel, its mean, its standard deviation, the largest distance from the mean)
MOMENTS: dict[str, tuple[Initializer, float, float, float]] = {
    "normal": (initializers.RandomNormal(), 0, 0.05, math.inf),
    "normal moved": (initializers.RandomNormal(2.0, 0.5), 2, 0.5, math.inf),
    "uniform": (initializers.RandomUniform(), 0, 0.05 / math.sqrt(3), 0.05),
    "uniform moved": (initializers.RandomUniform(1.0, 3.0), 2, 1 / math.sqrt(3), 1),
    "truncated": (initializers.TruncatedNormal(), 0, 0.05 * CUT, 0.1),
    "truncated moved": (initializers.TruncatedNormal(-1.0, 0.5), -1, 0.5 * CUT, 1),
    "glorot uniform": (initializers.GlorotUniform(), 0, AVERAGE**-0.5, math.sqrt(3 / AVERAGE)),
    "glorot normal": (initializers.GlorotNormal(), 0, AVERAGE**-0.5, 2 / CUT * AVERAGE**-0.5),
    "he uniform": (initializers.HeUniform(), 0, (2 / IN) ** 0.5, math.sqrt(6 / IN)),
    "he normal": (initializers.HeNormal(), 0, (2 / IN) ** 0.5, 2 / CUT * (2 / IN) ** 0.5),
    "lecun uniform": (initializers.LecunUniform(), 0, IN**-0.5, math.sqrt(3 / IN)),
    "lecun normal": (initializers.LecunNormal(), 0, IN**-0.5, 2 / CUT * IN**-0.5),
    "scaling": (initializers.VarianceScaling(), 0, IN**-0.5, 2 / CUT * IN**-0.5),
    "scaling out": (initializers.VarianceScaling(3.0, "fan_out", "uniform"), 0, (3 / OUT) ** 0.5, 3 / OUT**0.5),
    "scaling average": (
        *(initializers.VarianceScaling(0.5, "fan_avg", "untruncated_normal"), 0, (0.5 / AVERAGE) ** 0.5, math.inf),
    ),
    "orthogonal": (initializers.Orthogonal(), 0, IN**-0.5, 1),
}


def seeded(initializer: Initializer, seed: int | None) -> Initializer:
    return type(initializer).from_config({**initializer.get_config(), "seed": seed})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MOMENTS)
def test_moments_bounds_and_seeds(name: str, dtype: str) -> None:
    initializer, mean, deviation, bound = MOMENTS[name]
    values = seeded(initializer, 7)((IN, OUT), dtype)
    assert values.dtype == dtype
    assert values.shape == (IN, OUT)
    assert abs(values.mean(dtype=np.float64) - mean) < 4 * deviation / math.sqrt(values.size)
    assert values.std(dtype=np.float64) == pytest.approx(deviation, rel=0.01)
    furthest = np.abs(values.astype(np.float64) - mean).max()
    assert furthest <= bound * (1 + 1e-6)
    assert furthest > 0.99 * bound or math.isinf(bound) or name == "orthogonal"
    assert np.array_equal(values, seeded(initializer, 7)((IN, OUT), dtype))
    assert not np.array_equal(values, seeded(initializer, 8)((IN, OUT), dtype))


def test_without_a_seed_the_global_generator_draws() -> None:
    initializer = initializers.HeNormal()
    keras.utils.set_random_seed(3)
    first, second = initializer((5, 4)), initializer((5, 4))
    assert not np.array_equal(first, second)
    keras.utils.set_random_seed(3)
    assert np.array_equal(first, initializers.HeNormal()((5, 4)))


@pytest.mark.parametrize("shape", [(30, 30), (40, 7), (7, 40), (3, 5, 4), (1, 1)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    values = initializers.Orthogonal(gain=1.5, seed=1)(shape, "float64").reshape(-1, shape[-1])
    few = values if values.shape[0] <= values.shape[1] else values.T
    np.testing.assert_allclose(few @ few.T, 1.5**2 * np.eye(len(few)), atol=1e-12)


def test_orthogonal_is_uniform() -> None:
    """A corner of uniform orthogonal matrices has mean 0; with the signs that LAPACK chooses it leans one way."""
    keras.utils.set_random_seed(0)
    draw = initializers.Orthogonal()
    corners = np.array([draw((2, 2), "float64")[0, 0] for _ in range(2000)])
    assert abs(corners.mean()) < 4 * 0.5**0.5 / 2000**0.5


def test_constants() -> None:
    assert not initializers.Zeros()((3, 2)).any()
    assert (initializers.Ones()((3,)) == 1).all()
    assert (initializers.Constant(2.5)((3, 2)) == 2.5).all()
    assert np.array_equal(initializers.Constant([1, 2])((3, 2)), [[1, 2]] * 3)
    assert np.array_equal(initializers.Identity(2)((2, 3)), [[2, 0, 0], [0, 2, 0]])
    before = keras.config.floatx()
    assert initializers.Ones()((3,)).dtype == before
    keras.config.set_floatx("float64")
    try:
        assert initializers.Ones()((3,)).dtype == "float64"
    finally:
        keras.config.set_floatx(before)


@pytest.mark.parametrize(
    ("shape", "fan_in", "fan_out"), [((), 1, 1), ((9,), 9, 9), ((4, 6), 4, 6), ((3, 3, 4, 6), 36, 54)]
)
def test_fans(shape: tuple[int, ...], fan_in: int, fan_out: int) -> None:
    for mode, fan in (("fan_in", fan_in), ("fan_out", fan_out), ("fan_avg", (fan_in + fan_out) / 2)):
        assert initializers.VarianceScaling(2.0, mode)._variance(shape) == 2.0 / fan
        assert initializers.VarianceScaling(2.0, mode, seed=0)(shape).shape == shape


@pytest.mark.parametrize("name", initializers.NAMES)
def test_names_classes_and_configs(name: str) -> None:
    kind = initializers.NAMES[name]
    for given in (name, kind, kind(), {"class_name": name, "config": {}}):
        assert type(initializers.get(given)) is kind
    assert getattr(initializers, name) is kind
    described = json.loads(json.dumps(initializers.serialize(kind())))
    again = initializers.deserialize(described)
    assert type(again) is kind
    assert again.get_config() == kind().get_config()


def test_a_config_holds_every_argument() -> None:
    settings = {"scale": 0.3, "mode": "fan_avg", "distribution": "uniform", "seed": 5}
    settings |= {"input_axes": [0], "output_axes": [1, 2]}
    assert initializers.VarianceScaling(**settings).get_config() == settings
    assert initializers.Constant(np.float32(2)).get_config() == {"value": 2.0}
    assert initializers.Constant(np.arange(2)).get_config() == {"value": [0, 1]}


def test_fans_of_named_axes() -> None:
    for mode, fan in (("fan_in", 6), ("fan_out", 35), ("fan_avg", 20.5)):
        for kind in (initializers.VarianceScaling, initializers.HeNormal):
            initializer = kind(input_axes=[1], output_axes=[0, 2])
            initializer.mode = mode
            assert initializer._variance((5, 6, 7)) == initializer.scale / fan


def test_a_seed_generator_draws_others_at_each_call() -> None:
    for kind in ("RandomNormal", "Orthogonal", "VarianceScaling", "GlorotUniform", "RandomSign"):
        initializer = getattr(initializers, kind)(seed=keras.random.SeedGenerator(3))
        first, second = initializer((9, 4)), initializer((9, 4))
        assert not np.array_equal(first, second)
        again = initializers.deserialize(json.loads(json.dumps(initializers.serialize(initializer))))
        assert np.array_equal(first, again((9, 4)))


def test_an_array_is_an_initializer_of_its_shape() -> None:
    values = np.arange(6.0).reshape(2, 3)
    dense = layers.Dense(3, kernel_initializer=values, bias_initializer=None)
    fastdl.Sequential([fastdl.Input((2,)), dense])
    assert np.array_equal(dense.get_weights()[0], values)
    again = layers.Dense.from_config(dense.get_config())
    fastdl.Sequential([fastdl.Input((2,)), again])
    assert np.array_equal(again.get_weights()[0], values)
    assert initializers.get(None) is None


def test_a_function_and_a_class_of_ones_own() -> None:
    asked: list[Any] = []

    def ramp(shape: tuple[int, ...], dtype: Any) -> Array:
        asked.append((shape, dtype))
        return np.arange(math.prod(shape)).reshape(shape)

    class Sevens(Initializer):
        def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
            return np.full(shape, 7, dtype)

    dense = layers.Dense(3, kernel_initializer=ramp, bias_initializer=Sevens)
    fastdl.Sequential([fastdl.Input((2,)), dense])
    kernel, bias = dense.get_weights()
    assert asked == [((2, 3), np.dtype("float32"))]
    assert np.array_equal(kernel, [[0, 1, 2], [3, 4, 5]])
    assert np.array_equal(bias, [7, 7, 7])
    wrong = layers.Dense(3, kernel_initializer=lambda shape, dtype: np.zeros(5))
    with pytest.raises(ShapeError, match=r"kernel has shape \(2, 3\), the new value \(5,\)"):
        fastdl.Sequential([fastdl.Input((2,)), wrong])


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "name": (lambda: initializers.get("he"), ValueError, "unknown initializer 'he': choose one of zeros, ones"),
    "number": (lambda: initializers.get(3), ValueError, "unknown initializer 3"),  # type: ignore[arg-type]
    "config": (lambda: initializers.get({"class_name": "os.system"}), ValueError, "unknown class 'os.system'"),
    "attribute": (lambda: initializers.he, AttributeError, "no attribute 'he'"),
    "scale": (lambda: initializers.VarianceScaling(0), ValueError, "scale must be positive"),
    "mode": (lambda: initializers.VarianceScaling(mode="fan"), ValueError, "mode must be"),
    "distribution": (lambda: initializers.VarianceScaling(distribution="cauchy"), ValueError, "distribution must be"),
    "one of two axes": (
        lambda: initializers.HeNormal(input_axes=[0]),
        ValueError,
        "go together: give both, or neither",
    ),
    "shape": (lambda: initializers.get(np.ones(3))((4,)), ShapeError, r"values of shape \(3,\), not \(4,\)"),
    "seed": (lambda: initializers.HeNormal("7")((2, 2)), ValueError, "seed must be an integer of zero or more"),
    "identity": (lambda: initializers.Identity()((3,)), ShapeError, r"matrices, not an array of shape \(3,\)"),
    "orthogonal": (lambda: initializers.Orthogonal()((3,)), ShapeError, "two or more dimensions"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls_say_what_is_wrong(name: str) -> None:
    call, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        call()
