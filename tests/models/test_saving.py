"""Saving and loading: what comes back is what went in, to the bit, and training goes on as if it had not stopped."""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import fastdl
from fastdl import activations, constraints, initializers, layers, losses, metrics, optimizers, regularizers, schedules
from fastdl.callbacks import LambdaCallback
from fastdl.errors import ModelFileError
from fastdl.models import load_model, model_from_json

Array = np.ndarray[Any, Any]
X = np.random.default_rng(0).standard_normal((70, 6))
Y = np.random.default_rng(1).integers(0, 3, 70)


def adapted(layer: Any) -> layers.Layer:
    layer.adapt(X * 3 + 1)
    return layer  # type: ignore[no-any-return]


# every layer fastdl has, with settings that are not its defaults
LAYERS: dict[str, Callable[[], layers.Layer]] = {
    "Dense": lambda: layers.Dense(4, "relu", False, "he_normal"),
    "Dense with a layer": lambda: layers.Dense(4, layers.PReLU(initializers.Constant(0.2)), name="outer"),
    "Dense seeded": lambda: layers.Dense(4, "gelu", True, initializers.VarianceScaling(2.0, "fan_avg", seed=7), "ones"),
    "Dense frozen": lambda: layers.Dense(4, trainable=False),
    "Dense held": lambda: layers.Dense(
        4,
        kernel_regularizer=regularizers.L1L2(0.01, 0.02),
        bias_regularizer="l1",
        activity_regularizer=regularizers.l2(0.03),
        kernel_constraint=constraints.MinMaxNorm(0.1, 0.9, 0.5, [0, 1]),
        bias_constraint="non_neg",
    ),
    "BatchNormalization held": lambda: layers.BatchNormalization(
        gamma_regularizer="l2", beta_regularizer="l1_l2", gamma_constraint="max_norm", beta_constraint="non_neg"
    ),
    "LayerNormalization held": lambda: layers.LayerNormalization(
        gamma_regularizer="l2", beta_constraint="unit_norm", activity_regularizer="l1"
    ),
    "Dense orthogonal": lambda: layers.Dense(4, kernel_regularizer=regularizers.OrthogonalRegularizer(0.1, "columns")),
    "PReLU held": lambda: layers.PReLU("ones", regularizers.L2(0.1), constraints.MaxNorm(0.4)),
    "ActivityRegularization": lambda: layers.ActivityRegularization(0.1, 0.2),
    "BatchNormalization": lambda: layers.BatchNormalization(1, 0.9, 1e-2, True, False, "ones"),
    "BatchNormalization renorm": lambda: layers.BatchNormalization(
        renorm=True, renorm_clipping={"rmax": 3.0, "rmin": 0.3, "dmax": 5.0}, renorm_momentum=0.9
    ),
    "BatchNormalization frozen": lambda: layers.BatchNormalization(trainable=False),
    "LayerNormalization": lambda: layers.LayerNormalization(-1, 1e-2, False, gamma_initializer="random_normal"),
    "Flatten": layers.Flatten,
    "Identity": lambda: layers.Identity(name="same"),
    "Rescaling": lambda: layers.Rescaling(0.1, 0.3),
    "Reshape": lambda: layers.Reshape((-1,)),
    "Normalization": lambda: adapted(layers.Normalization(axis=1)),
    "Normalization given": lambda: layers.Normalization(-1, np.arange(6), 2 * np.ones(6), True),
    "Rescaling by feature": lambda: layers.Rescaling(np.arange(1.0, 7.0), [0.5]),
    "MinMaxScaling": lambda: adapted(layers.MinMaxScaling((-1, 2), axis=None)),
    "Whitening": lambda: adapted(layers.Whitening("pca", 4, 0.1)),
    "Whitening, zca": lambda: adapted(layers.Whitening("zca")),
    "Dropout": lambda: layers.Dropout(0.3),
    "Dropout seeded": lambda: layers.Dropout(0.3, seed=5),
    "Activation": lambda: layers.Activation("mish"),
    "Activation with a layer": lambda: layers.Activation(layers.LeakyReLU(0.123)),
    "ReLU": lambda: layers.ReLU(6.0, 0.1, 0.2),
    "LeakyReLU": lambda: layers.LeakyReLU(alpha=0.1),
    "PReLU": lambda: layers.PReLU("random_uniform"),
    "PReLU shared": lambda: layers.PReLU("random_uniform", shared_axes=1),
    "SpectralNormalization": lambda: layers.SpectralNormalization(layers.Dense(6, "tanh"), 2),
    "LayerNormalization scaled": lambda: layers.LayerNormalization(rms_scaling=True),
    "Dropout shared": lambda: layers.Dropout(0.3, (None, 1)),
    "AlphaDropout shared": lambda: layers.AlphaDropout(0.3, (None, 1)),
    "ParametricActivation": lambda: layers.ParametricActivation("mish", "random_uniform", "l2", "non_neg"),
    "ParametricActivation of a layer": lambda: layers.ParametricActivation(layers.ELU(0.3)),
    "Scale": lambda: layers.Scale("random_uniform", "l1", "max_norm"),
    "PeriodicEmbedding": lambda: layers.PeriodicEmbedding(3, 5, 0.2),
    "PeriodicEmbedding, plr": lambda: layers.PeriodicEmbedding(4, 3, 0.5, "plr", True),
    "PiecewiseLinearEncoding": lambda: adapted(layers.PiecewiseLinearEncoding(5)),
    "PiecewiseLinearEncoding even": lambda: layers.PiecewiseLinearEncoding([1, 2, 3, 4, 5, 6]),
    "RReLU": lambda: layers.RReLU(0.1, 0.2, seed=3),
    "ELU": lambda: layers.ELU(0.7),
    "Softmax": layers.Softmax,
    "Dropout scheduled": lambda: layers.Dropout(schedules.FlatCosine(0.3, 10)),
    "Dense with factors": lambda: layers.Dense(
        5, learning_rate_factors={"bias": 0.1}, weight_decay_factors={"kernel": 0.5}
    ),
    "AlphaDropout": lambda: layers.AlphaDropout(0.2, seed=1),
    "GaussianDropout": lambda: layers.GaussianDropout(0.2, 2**32 - 1),
    "GaussianNoise": lambda: layers.GaussianNoise(np.float32(0.1), seed=0),
    "RMSNormalization": lambda: layers.RMSNormalization([1], 1e-3),
    "UnitNormalization": lambda: layers.UnitNormalization(1),
    "GroupNormalization": lambda: layers.GroupNormalization(
        3, 1, 1e-2, gamma_regularizer="l2", beta_constraint="non_neg"
    ),
    "Permute": lambda: layers.Permute((1,)),
    "Lambda": lambda: layers.Lambda(activations.celu, arguments={"alpha": 2.0}),
}
BRANCHED = "Add", "Subtract", "Average", "Multiply", "Concatenate", "DenseTranspose"  # see test_functional.py
COMPOSED = "Maximum", "Minimum", "Dot"  # see test_composed.py
ENSEMBLES = "RepeatVector", "GlobalAveragePooling1D", "EnsembleScale", "EnsembleDense"  # see test_members.py
AUGMENTING = "RandomFlip", "RandomTranslation", "RandomRotation", "RandomZoom", "MixUp"  # see test_augmentation.py
ENCODING = "CategoryEncoding", "Discretization", "HashedCrossing", "Hashing", "IntegerLookup", "StringLookup"
# of columns: see test_columns.py
LOOKING_UP = "Embedding", "CategoryEmbedding"  # see test_embedding.py
DECAY = schedules.ExponentialDecay(0.05, 3, 0.9)
OPTIMIZERS: dict[str, Callable[[], optimizers.Optimizer]] = {
    **optimizers.CLASSES,
    "momentum": lambda: optimizers.SGD(0.1, 0.9),
    "nesterov": lambda: optimizers.SGD(DECAY, 0.9, True, clipnorm=1.0),
    "RMSprop centered": lambda: optimizers.RMSprop(momentum=0.5, centered=True),
    "amsgrad": lambda: optimizers.Adam(DECAY, amsgrad=True, global_clipnorm=0.5),
    "decay scheduled": lambda: optimizers.AdamW(DECAY, schedules.FlatCosine(0.1, 30)),
    "averaged": lambda: optimizers.Adam(use_ema=True, ema_overwrite_frequency=4, ema_momentum=0.8, weight_decay=0.1),
}
SCHEDULES: dict[str, schedules.LearningRateSchedule] = {
    "InverseTimeDecay": schedules.InverseTimeDecay(0.1, 2, 0.5),
    "ExponentialDecay": DECAY,
    "PiecewiseConstantDecay": schedules.PiecewiseConstantDecay([3, 7], [0.1, 0.05, 0.01]),
    "PolynomialDecay": schedules.PolynomialDecay(0.1, 10, cycle=True),
    "CosineDecay": schedules.CosineDecay(0.01, 20, warmup_target=0.1, warmup_steps=4),
    "CosineDecayRestarts": schedules.CosineDecayRestarts(0.1, 3),
    "OneCycle": schedules.OneCycle(0.1, 30),
    "FlatCosine": schedules.FlatCosine(0.1, 30),
    "LogCosine": schedules.LogCosine(0.1, 30),
}


def same(one: fastdl.Model, other: fastdl.Model) -> bool:
    """Whether all weights and what the optimizers keep are equal, to the bit."""

    def kept(model: fastdl.Model) -> list[Any]:
        optimizer = model.optimizer if one.optimizer and other.optimizer else None
        found: list[Any] = [optimizer and optimizer.iterations]
        for weight in model.weights:
            averages = [optimizer.state.averages[weight]] if optimizer and weight in optimizer.state.averages else []
            slots = optimizer.state.slots.get(weight, []) if optimizer else []
            found.append((weight.trainable, [part.numpy().tobytes() for part in (weight, *slots, *averages)]))
        return found

    return kept(one) == kept(other)


def net(*stack: layers.Layer, optimizer: Any = "adam", dtype: Any = None, **options: Any) -> fastdl.Sequential:
    """A classifier of X around these layers, with dropout."""
    fastdl.utils.set_random_seed(3)
    ends = layers.Dropout(0.2), layers.Dense(3, "softmax")
    model = fastdl.Sequential([fastdl.Input((6,)), *stack, *ends], dtype=dtype)
    model.compile(optimizer, "sparse_categorical_crossentropy", **{"metrics": ["accuracy"], **options})
    return model


def fit(model: fastdl.Sequential, **options: Any) -> dict[str, list[float]]:
    return model.fit(X, Y, 16, verbose=0, **options).history


def again(model: fastdl.Model, tmp_path: Path, **options: Any) -> fastdl.Sequential:
    model.save(tmp_path / "model.fastdl")
    return load_model(tmp_path / "model.fastdl", **options)


def goes_on_as(model: fastdl.Sequential, loaded: fastdl.Sequential) -> bool:
    """Whether both train alike from here, shuffled, with dropout, to the bit."""
    assert same(model, loaded)
    assert model.predict(X).tobytes() == loaded.predict(X).tobytes()
    before = model.get_weights()
    fastdl.utils.set_random_seed(77)
    first = fit(model, epochs=2)
    fastdl.utils.set_random_seed(88)  # another process would have another
    second = fit(loaded, epochs=2)
    moved = any(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    return moved and first == second and same(model, loaded)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_layer_comes_back(name: str, dtype: str, tmp_path: Path) -> None:
    model = net(LAYERS[name](), dtype=dtype)
    fit(model, epochs=2)
    loaded = again(model, tmp_path)
    assert loaded.get_config() == model.get_config()
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    assert goes_on_as(model, loaded)


def test_the_table_has_every_layer() -> None:
    ours = {name for name in layers.__all__ if isinstance(getattr(layers, name), type)} - {
        "Layer",
        "Input",
        "InputLayer",
        "NumpyLayer",
        "Wrapper",
    }
    elsewhere = {"Operation", *BRANCHED, *COMPOSED, *ENSEMBLES, *AUGMENTING, *ENCODING, *LOOKING_UP}
    here = {type(make()).__name__ for make in LAYERS.values()} | elsewhere
    assert ours == here == set(layers.layer.CLASSES) - {"Input", "InputLayer", "Sequential", "Functional"}
    assert set(OPTIMIZERS) >= set(optimizers.CLASSES)
    assert set(SCHEDULES) == set(schedules.CLASSES)


@pytest.mark.parametrize("name", LAYERS)
def test_configs_hold_what_is_not_a_default(name: str) -> None:
    layer = LAYERS[name]()
    config = json.loads(json.dumps(layer.get_config()))
    made = type(layer).from_config(config)
    assert json.loads(json.dumps(made.get_config())) == config
    assert layers.deserialize(layers.serialize(layer)).get_config() == layer.get_config()
    plain = {key: each for key, each in vars(layer).items() if isinstance(each, (int, float, str, bool))}
    kept = {key: each for key, each in plain.items() if key != "built"}  # which is of what `adapt` learned
    assert kept.items() <= vars(made).items()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_on(name: str, tmp_path: Path) -> None:
    model = net(layers.Dense(5, "tanh"), layers.BatchNormalization(), optimizer=OPTIMIZERS[name]())
    fit(model, epochs=2)
    loaded = again(model, tmp_path)
    assert loaded.optimizer is not None
    assert model.optimizer is not None
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert goes_on_as(model, loaded)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_goes_on(name: str, tmp_path: Path) -> None:
    model = net(optimizer=optimizers.SGD(SCHEDULES[name]))
    fit(model, epochs=2)
    assert goes_on_as(model, again(model, tmp_path))


LOSSES = [
    *(kind() for kind in losses.CLASSES.values() if not kind.sparse),
    *(losses.Huber(0.3), losses.BinaryCrossentropy(label_smoothing=0.1)),
]
METRICS = ["mse", metrics.R2Score, metrics.AUC(50, "PR"), metrics.F1Score("macro"), metrics.Precision([0.2, 0.7])]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_losses_and_metrics_come_back(loss: losses.Loss, tmp_path: Path) -> None:
    fastdl.utils.set_random_seed(1)
    model = fastdl.Sequential([fastdl.Input((6,)), layers.Dense(3), layers.Activation("sigmoid")])
    if isinstance(loss, losses.CategoricalCrossentropy):
        model.pop()
        model.add(layers.Softmax())
    by_label = isinstance(loss, losses.Circle)  # of embeddings, which no metric compares with labels
    model.compile("sgd", loss, **({} if by_label else {"metrics": METRICS, "weighted_metrics": ["mae"]}))
    targets = Y if by_label else np.eye(3)[Y]
    model.fit(X, targets, verbose=0)
    loaded = again(model, tmp_path)
    expected = model.evaluate(X, targets, return_dict=True)
    found = loaded.evaluate(X, targets, return_dict=True)
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_a_learning_rate_set_by_hand_and_what_keeps_its_weights(tmp_path: Path) -> None:
    model = net(layers.Dense(5), optimizer=optimizers.AdamW(0.01, weight_decay=0.5))
    assert model.optimizer is not None
    model.optimizer.exclude_from_weight_decay(var_names=["bias"])
    fit(model)
    model.optimizer.learning_rate = 0.003
    loaded = again(model, tmp_path)
    assert loaded.optimizer is not None
    assert loaded.optimizer.learning_rate == 0.003
    assert [loaded.optimizer.decay(p) for p in loaded.weights] == [0.5, 0, 0.5, 0]
    assert goes_on_as(model, loaded)


def test_each_epoch_and_each_model_is_shuffled_in_its_own_order() -> None:
    orders: list[Any] = []
    for _ in range(2):
        first: list[float] = []
        note = LambdaCallback(on_train_batch_end=lambda batch, logs, kept=first: kept.append(logs["loss"]))
        same_weights = initializers.RandomNormal(seed=1)
        model = fastdl.Sequential([fastdl.Input((6,)), layers.Dense(3, "softmax", kernel_initializer=same_weights)])
        model.compile(optimizers.SGD(0.0), "sparse_categorical_crossentropy")
        model.fit(X, Y, 10, 3, 0, [note])
        orders += [tuple(first[at : at + 7]) for at in (0, 7, 14)]
    assert len(set(orders)) == 6


def test_loading_draws_nothing(tmp_path: Path) -> None:
    net(layers.Dense(5)).save(tmp_path / "m.fastdl")
    fastdl.utils.set_random_seed(5)
    load_model(tmp_path / "m.fastdl")
    drawn = initializers.RandomNormal()((3,))
    fastdl.utils.set_random_seed(5)
    assert np.array_equal(drawn, initializers.RandomNormal()((3,)))


def test_without_the_optimizer(tmp_path: Path) -> None:
    model = net()
    fit(model)
    assert again(model, tmp_path, compile=False).optimizer is None
    model.save(tmp_path / "small.fastdl", include_optimizer=False)
    assert load_model(tmp_path / "small.fastdl").optimizer is None
    assert same(load_model(tmp_path / "small.fastdl"), model)


def test_models_that_wait_for_their_shape(tmp_path: Path) -> None:
    waiting = fastdl.Sequential([layers.Dense(3)], name="waiting")
    assert not again(waiting, tmp_path).built
    half = fastdl.Sequential(net(layers.Dense(5)).layers[:-1])
    with pytest.raises(ValueError, match="has weights, but no input shape yet"):
        half.save(tmp_path / "half.fastdl")
    images = fastdl.Sequential([layers.Flatten(input_shape=[2, 3]), layers.Dense(2)])
    assert again(images, tmp_path).input_shape == (None, 2, 3)


def test_names_that_stand_twice(tmp_path: Path) -> None:
    source = h = fastdl.Input((6,))
    for layer in (layers.Dense(4, name="a"), layers.Dense(4, name="a"), layers.Dense(6, name="a_1")):
        h = layer(h)
    model = fastdl.Model(source, layers.Dense(3, activation="softmax")(h))
    model.compile("adam", "sparse_categorical_crossentropy")
    fit(model)
    assert goes_on_as(model, again(model, tmp_path))
    shared = layers.PReLU()
    with pytest.raises(ValueError, match="alpha belongs to two layers"):
        net(layers.Dense(4, shared), layers.Dense(4, shared)).save(tmp_path / "m.fastdl")


def test_other_readers_read_the_file(tmp_path: Path) -> None:
    model = net(layers.Dense(5, name="first"))
    fit(model)
    model.save(tmp_path / "m.fastdl")
    arrays = safetensors.numpy.load_file(tmp_path / "m.fastdl")
    assert model.optimizer is not None
    assert len(arrays) == len(model.weights) + len(model.optimizer.kept)
    assert np.array_equal(arrays["first/kernel"], model.get_weights()[0])
    with safetensors.safe_open(tmp_path / "m.fastdl", "np") as file:
        assert file.metadata()["format"] == "fastdl"


def test_weights_alone(tmp_path: Path) -> None:
    model, other = net(layers.Dense(5)), net(layers.Dense(5))
    fit(model)
    model.save_weights(tmp_path / "m.fastdl")
    assert not same(model, other)
    other.load_weights(tmp_path / "m.fastdl")
    assert [a.tobytes() for a in model.get_weights()] == [b.tobytes() for b in other.get_weights()]
    with pytest.raises(ModelFileError, match="it holds weights only"):
        load_model(tmp_path / "m.fastdl")
    narrow = net(layers.Dense(4))
    before = narrow.get_weights()
    with pytest.raises(ModelFileError, match=r"'dense.*/kernel' has shape \(6, 5\).* needs \(6, 4\)"):
        narrow.load_weights(tmp_path / "m.fastdl")
    with pytest.raises(ModelFileError, match="it holds 4 weight arrays, the model has 2"):
        net().load_weights(tmp_path / "m.fastdl")
    assert all(np.array_equal(a, b) for a, b in zip(before, narrow.get_weights(), strict=True))
    model.save(tmp_path / "whole.fastdl")
    other = net(layers.Dense(5))
    other.load_weights(tmp_path / "whole.fastdl")
    assert np.array_equal(other.get_weights()[0], model.get_weights()[0])


class Doubling(layers.Layer):
    """A layer of one's own."""

    def call(self, x: Any) -> Any:
        return layers.Rescaling(2.0)(x)


class Dense(layers.Dense):
    """One that calls itself as fastdl's."""


class OwnLoss(losses.MeanSquaredError):
    """A loss of one's own."""


def own_metric(y_true: Array, y_pred: Array) -> Array:
    return np.abs(y_true - y_pred).mean(1)


def own_function(shape: Any, dtype: Any) -> Array:
    return np.ones(shape, dtype)


class OwnRate(schedules.LearningRateSchedule):
    def __call__(self, step: Any) -> Any:
        return 0.1


def with_loss(loss: Any) -> fastdl.Sequential:
    model = net()
    model.compile("adam", loss)
    return model


CUSTOM = {each.__name__: each for each in (Doubling, OwnLoss, OwnRate, own_metric, own_function)}
OWN: dict[str, Callable[[], fastdl.Sequential]] = {
    "a layer": lambda: net(Doubling(name="twice")),
    "a layer as an activation": lambda: net(layers.Dense(3, Doubling(name="twice"))),
    "an initializer": lambda: net(layers.Dense(3, kernel_initializer=own_function)),
    "a schedule": lambda: net(optimizer=optimizers.SGD(OwnRate())),
    "a metric": lambda: net(metrics=[own_metric]),
    "a weighted metric": lambda: net(weighted_metrics=[own_metric]),
    "a loss": lambda: with_loss(OwnLoss()),
}


@pytest.mark.parametrize("name", OWN)
def test_what_is_ones_own_is_saved_by_name_and_handed_over_to_be_loaded(name: str, tmp_path: Path) -> None:
    model = OWN[name]()
    model.save(tmp_path / "m.fastdl")
    with pytest.raises(ModelFileError, match="custom_objects"):
        load_model(tmp_path / "m.fastdl")
    assert same(load_model(tmp_path / "m.fastdl", CUSTOM), model)
    with fastdl.saving.custom_object_scope(CUSTOM):
        assert same(load_model(tmp_path / "m.fastdl"), model)


NAMELESS: list[tuple[Callable[[], fastdl.Sequential], str]] = [
    (lambda: net(Dense(3, name="mine")), "mine is a Dense of your own, and a file would mean fastdl's"),
    (lambda: net(layers.Dense(3, lambda x: x, name="d")), "d: its activation cannot be told in words"),
    (lambda: net(metrics=[lambda a, b: own_metric(a, b)]), "include_optimizer=False"),
]


@pytest.mark.parametrize(("make", "message"), NAMELESS)
def test_what_has_no_name_of_its_own_is_refused(
    make: Callable[[], fastdl.Sequential], message: str, tmp_path: Path
) -> None:
    model = make()
    with pytest.raises(ValueError, match=message):
        model.save(tmp_path / "m.fastdl")
    assert not list(tmp_path.iterdir())
    model.save_weights(tmp_path / "m.fastdl")
    if "include_optimizer" in message:
        model.save(tmp_path / "m.fastdl", include_optimizer=False)
        assert same(load_model(tmp_path / "m.fastdl"), model)


def test_json_holds_the_layers(tmp_path: Path) -> None:
    model = net(layers.Dense(5, "relu"), layers.BatchNormalization())
    made = model_from_json(model.to_json())
    assert made.get_config() == model.get_config()
    assert made.optimizer is None
    with pytest.raises(ValueError, match="unknown class 'Eval'"):
        model_from_json(model.to_json().replace('"Dense"', '"Eval"'))
    with pytest.raises(ValueError, match="unknown class 'Model'"):
        model_from_json(model.to_json().replace('"Sequential"', '"Model"'))


def test_overwrite(tmp_path: Path) -> None:
    net().save(tmp_path / "m.fastdl")
    before = (tmp_path / "m.fastdl").read_bytes()
    for save in (net(layers.Dense(9)).save, net(layers.Dense(9)).save_weights):
        with pytest.raises(FileExistsError, match="pass overwrite=True"):
            save(tmp_path / "m.fastdl", overwrite=False)
    assert (tmp_path / "m.fastdl").read_bytes() == before
    net().save(str(tmp_path / "n.fastdl"))
    assert fastdl.load_model(str(tmp_path / "n.fastdl")).built


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("fuse", [True, False])
def test_every_layer_is_exported(name: str, fuse: bool, tmp_path: Path) -> None:
    """What onnxruntime makes of the file is within 1e-6 of predict; see test_functional.py for those with branches."""
    model = net(LAYERS[name]())
    fit(model, epochs=1)
    model.export(tmp_path / "m.onnx", fuse=fuse, verify=X)
    served, predicted = fastdl.Runner(tmp_path / "m.onnx").predict(X.astype(np.float32)), model.predict(X)
    assert np.abs(served - predicted).max() <= 1e-6


def test_export_waits_for_a_fit_in_another_thread(tmp_path: Path) -> None:
    x, y = X.astype(np.float32), X.sum(1)
    model = fastdl.Sequential([fastdl.Input((6,)), layers.Dense(4, "relu"), layers.Dense(1)])
    model.compile("sgd", "mse")
    begun = threading.Event()

    def shake(epoch: int, logs: Any) -> None:
        begun.set()
        time.sleep(0.03)
        model.set_weights([np.tanh(weight + 1) for weight in model.get_weights()])

    fit = functools.partial(model.fit, x, y, epochs=20, verbose=0, callbacks=LambdaCallback(on_epoch_end=shake))
    thread = threading.Thread(target=fit)
    thread.start()
    begun.wait()
    report = model.export(tmp_path / "model.onnx")
    thread.join()
    assert report.verified
    served = fastdl.Runner(tmp_path / "model.onnx").predict(x)
    np.testing.assert_allclose(served, model.predict(x), rtol=1e-4)
