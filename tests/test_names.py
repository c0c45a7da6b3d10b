"""`import fastdl as keras`: the names that a chapter on dense nets uses resolve, and do what they do there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl as keras

Array = np.ndarray[Any, Any]

NAMES = [
    "Input",
    "Initializer",
    "Layer",
    "Loss",
    "Metric",
    "Model",
    "Optimizer",
    "Regularizer",
    "Sequential",
    "activations.deserialize",
    "activations.get",
    "activations.hard_swish",
    "activations.serialize",
    "activations.swish",
    "backend.clear_session",
    "backend.epsilon",
    "backend.floatx",
    "backend.set_floatx",
    "callbacks.Callback",
    "callbacks.CSVLogger",
    "callbacks.EarlyStopping",
    "callbacks.History",
    "callbacks.LambdaCallback",
    "callbacks.LearningRateScheduler",
    "callbacks.ModelCheckpoint",
    "callbacks.ReduceLROnPlateau",
    "callbacks.TensorBoard",
    "callbacks.TerminateOnNaN",
    "callbacks.BackupAndRestore",
    "config.epsilon",
    "config.floatx",
    "config.set_floatx",
    "constraints.Constraint",
    "constraints.MaxNorm",
    "constraints.max_norm",
    "constraints.non_neg",
    "constraints.unit_norm",
    "initializers.HeNormal",
    "initializers.VarianceScaling",
    "initializers.he_normal",
    "initializers.lecun_normal",
    "layers.ActivityRegularization",
    "layers.AlphaDropout",
    "layers.BatchNormalization",
    "layers.Dense",
    "layers.Dropout",
    "layers.Embedding",
    "layers.GaussianDropout",
    "layers.GaussianNoise",
    "layers.LayerNormalization",
    "layers.LeakyReLU",
    "layers.PReLU",
    "losses.BinaryCrossentropy",
    "losses.BinaryFocalCrossentropy",
    "losses.CategoricalFocalCrossentropy",
    "losses.Huber",
    "losses.KLDivergence",
    "losses.kl_divergence",
    "losses.mean_squared_error",
    "metrics.AUC",
    "metrics.BinaryCrossentropy",
    "metrics.FalsePositives",
    "metrics.Precision",
    "metrics.Recall",
    "metrics.categorical_crossentropy",
    "metrics.deserialize",
    "metrics.mean_squared_error",
    "metrics.serialize",
    "models.Model",
    "models.Sequential",
    "models.clone_model",
    "models.load_model",
    "models.model_from_json",
    "models.save_model",
    "optimizers.Adam",
    "optimizers.AdamW",
    "optimizers.SGD",
    "optimizers.get",
    "optimizers.serialize",
    "optimizers.schedules.CosineDecay",
    "optimizers.schedules.ExponentialDecay",
    "optimizers.schedules.LearningRateSchedule",
    "regularizers.L1",
    "regularizers.L1L2",
    "regularizers.L2",
    "regularizers.OrthogonalRegularizer",
    "regularizers.Regularizer",
    "regularizers.l1",
    "regularizers.l1_l2",
    "regularizers.l2",
    "saving.load_model",
    "saving.save_model",
    "tree.assert_same_structure",
    "tree.flatten",
    "tree.map_structure",
    "tree.pack_sequence_as",
    "utils.clear_session",
    "utils.normalize",
    "utils.set_random_seed",
    "utils.to_categorical",
]


def resolve(api: Any, name: str) -> Any:
    for part in name.split("."):
        api = getattr(api, part)
    return api


@pytest.mark.parametrize("name", NAMES)
def test_the_name_is_here(name: str) -> None:
    assert callable(resolve(keras, name))


@pytest.mark.peer
def test_the_names_are_keras() -> None:
    theirs = pytest.importorskip("keras")
    for name in NAMES:
        assert callable(resolve(theirs, name)), name


def test_clear_session_numbers_names_from_the_start() -> None:
    keras.layers.Dense(1)
    keras.backend.clear_session()
    assert [keras.layers.Dense(1).name for _ in range(3)] == ["dense", "dense_1", "dense_2"]
    keras.utils.clear_session()
    assert keras.layers.Dense(1).name == "dense"


def test_normalize() -> None:
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_array_equal(keras.utils.normalize(x), [[0.6, 0.8], [0, 0]])
    np.testing.assert_array_equal(keras.utils.normalize(x, 0), [[1, 1], [0, 0]])
    np.testing.assert_allclose(keras.utils.normalize(x, order=1), [[3 / 7, 4 / 7], [0, 0]])


def test_decay_is_inverse_time_decay() -> None:
    """keras.optimizers.SGD(learning_rate=0.01, decay=1e-4), as older books print it."""
    optimizer = keras.optimizers.SGD(learning_rate=0.1, decay=0.5)
    optimizer.iterations = 2
    assert optimizer.learning_rate == pytest.approx(0.1 / 2)
    assert keras.optimizers.get(keras.optimizers.serialize(optimizer)).get_config() == optimizer.get_config()
    with pytest.raises(ValueError, match="decay must be"):
        keras.optimizers.Adam(decay=-1.0)


def test_input_dim() -> None:
    model = keras.models.Sequential([keras.layers.Dense(3, input_dim=5)])
    assert model.input_shape == (None, 5)
    assert model.layers[0].get_config()["input_shape"] == [5]


def test_activations_by_name() -> None:
    for name, function in keras.activations.NAMES.items():
        assert keras.activations.deserialize(name) is function
    assert keras.activations.serialize(keras.activations.swish) == "silu"
    with pytest.raises(ValueError, match="has no name that a file could hold"):
        keras.activations.serialize(lambda x: x)


def test_backend() -> None:
    assert keras.backend.backend() == "fastdl"
    assert keras.backend.epsilon() == keras.config.epsilon() == 1e-7
    assert keras.backend.floatx() == keras.config.floatx()


def test_crossentropy_is_chosen_by_the_loss() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 3)), rng.integers(0, 2, 40)
    cases: list[tuple[int, str, str, Array]] = [
        (1, "sigmoid", "binary_crossentropy", y[:, None]),
        (2, "softmax", "categorical_crossentropy", np.eye(2)[y]),
        (2, "softmax", "sparse_categorical_crossentropy", y),
    ]
    for units, activation, loss, targets in cases:
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units, activation)])
        model.compile("sgd", loss, metrics=["crossentropy", "ce"])
        first, *others = model.evaluate(x, targets)
        assert others == pytest.approx([first] * 2)


RANDOM: dict[str, Callable[[int | None], Any]] = {
    "Dropout": lambda seed: keras.layers.Dropout(0.5, seed=seed),
    "AlphaDropout": lambda seed: keras.layers.AlphaDropout(0.5, None, seed),
    "GaussianDropout": lambda seed: keras.layers.GaussianDropout(0.5, seed),
    "GaussianNoise": lambda seed: keras.layers.GaussianNoise(0.5, seed),
    "RReLU": lambda seed: keras.layers.RReLU(seed=seed),
}


@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_decides_what_is_drawn(name: str) -> None:
    """In whichever model, and for the place in it; without one, the model's seed and the place do."""
    make, x = RANDOM[name], np.random.default_rng(0).standard_normal((50, 40)).astype(np.float32)

    def drawn(model_seed: int, *seeds: int | None) -> list[Array]:
        keras.utils.set_random_seed(model_seed)
        source = keras.Input((40,))
        model = keras.Model(source, [make(seed)(source) for seed in seeds])
        return list(model.predict(x, training=True))

    first, second, alone, other = drawn(1, 7, 7, None, 8)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, alone)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, x)
    again, elsewhere = drawn(2, 7, None)
    assert np.array_equal(first, again)
    assert not np.array_equal(alone, elsewhere)


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "seed": (lambda: keras.layers.Dropout(0.5, seed=-1), "seed must be an integer"),
    "noise shape": (lambda: keras.layers.Dropout(0.5, (1,)), "noise_shape must begin with None"),
    "alpha's": (lambda: keras.layers.AlphaDropout(0.5, 3), "noise_shape must be positive sizes"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_say_what_is_wrong(name: str) -> None:
    call, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        call()
