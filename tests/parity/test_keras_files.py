"""Keras's files: what fastdl writes is loaded by Keras, what Keras writes by fastdl; both compute and train alike."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl.layers import CLASSES
from fastdl.layers.operation import KNOWN
from fastdl.models.keras_files import names

pytestmark = [
    pytest.mark.peer,
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras with numpy 2
]
keras = pytest.importorskip("keras")
pytest.importorskip("h5py")

Array = np.ndarray[Any, Any]
ROWS = 16
X = np.random.default_rng(0).normal(size=(ROWS, 6)).astype("float32")
CODES = np.random.default_rng(1).integers(0, 5, (ROWS, 3)).astype("float32")


def stack(*layers: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda api: api.Sequential([api.Input((6,)), *(layer(api) for layer in layers), api.layers.Dense(2)])


def branches(api: Any) -> Any:
    """Two inputs by name, two outputs by name, a layer used twice, operators between tensors."""
    a, b = api.Input((6,), name="a"), api.Input((6,), name="b")
    shared = api.layers.Dense(4, activation="relu", name="shared")
    both = api.layers.Concatenate()([shared(a), shared(b), (a - b) * 0.5])
    deep = api.layers.BatchNormalization()(api.layers.Dense(5, use_bias=False)(both[:, 1:7]))
    outputs = {
        "p": api.layers.Dense(1, name="p")(deep),
        "q": api.layers.Dense(2, name="q")(api.layers.Add()([deep, deep])),
    }
    return api.Model({"a": a, "b": b}, outputs)


def nested(api: Any) -> Any:
    """Models within a model: a stack, and a graph that is called twice."""
    inside = api.Input((6,))
    graph = api.Model(inside, api.layers.Dense(3, activation="tanh")(api.layers.Dense(5)(inside)), name="graph")
    x = api.Input((6,))
    tower = api.Sequential([api.Input((3,)), api.layers.Dense(4), api.layers.LayerNormalization()], name="tower")
    ends = [tower(graph(x)), tower(graph(x * 2.0))]
    return api.Model(x, api.layers.Dense(2)(api.layers.Maximum()(ends)))


def many_of_a_kind(api: Any) -> Any:
    """Layers of one class at many depths: their places in the file are their order."""
    x = api.Input((6,))
    levels = [api.layers.Dense(4)(x) for _ in range(3)]
    levels += [api.layers.Dense(4)(each) for each in reversed(levels)]
    last = api.layers.Dense(4)(api.layers.Add()(levels))
    return api.Model(x, api.layers.Dense(2)(api.layers.Average()([last, levels[0]])))


def by_ops(api: Any) -> Any:
    """Functions with settings between tensors."""
    ops, x = api.ops, api.Input((6,))
    parts = [
        ops.reshape(ops.sum(api.layers.Reshape((2, 3))(x), axis=2), (-1, 2)),
        ops.clip(x, -0.5, 0.5),
        ops.where(x > 0.0, x, 0.1 * x),
        ops.take(x, np.array([0, 2]), axis=1),
        ops.logsumexp(x, axis=1, keepdims=True),
        ops.softmax(x),
        ops.power(ops.abs(x) + 1.0, 1.5),
        ops.expand_dims(ops.max(x, axis=-1), 1),
    ]
    return api.Model(x, api.layers.Dense(2)(api.layers.Concatenate()(parts)))


MODELS: dict[str, Callable[[Any], Any]] = {
    "dense": stack(
        lambda api: api.layers.Dense(4, activation="gelu", kernel_regularizer="l2", bias_constraint="non_neg")
    ),
    "layer as activation": stack(lambda api: api.layers.Dense(4, activation=api.layers.PReLU())),
    "batch norm": stack(lambda api: api.layers.BatchNormalization(momentum=0.5), lambda api: api.layers.Dropout(0.1)),
    "norms": stack(
        lambda api: api.layers.LayerNormalization(epsilon=0.01),
        lambda api: api.layers.GroupNormalization(2),
        lambda api: api.layers.RMSNormalization(),
        lambda api: api.layers.UnitNormalization(),
    ),
    "activations": stack(
        *(
            lambda api, name=name: getattr(api.layers, name)()
            for name in ("ReLU", "LeakyReLU", "ELU", "Softmax", "PReLU")
        ),
        lambda api: api.layers.Activation("mish"),
    ),
    "noise": stack(lambda api: api.layers.GaussianNoise(0.1), lambda api: api.layers.GaussianDropout(0.1)),
    "shapes": stack(
        lambda api: api.layers.Reshape((3, 2)), lambda api: api.layers.Permute((2, 1)), lambda api: api.layers.Flatten()
    ),
    "rescaling": stack(lambda api: api.layers.Rescaling(0.5, 1.0), lambda api: api.layers.Identity()),
    "frozen": stack(lambda api: api.layers.Dense(4, trainable=False)),
    "initializers": stack(
        lambda api: api.layers.Dense(
            4, kernel_initializer="he_normal", bias_initializer=api.initializers.Constant(0.5)
        ),
        lambda api: api.layers.Dense(4, kernel_initializer=api.initializers.VarianceScaling(2.0, "fan_out", seed=3)),
    ),
    "around a layer": stack(lambda api: api.layers.SpectralNormalization(api.layers.Dense(4))),
    "renorm": stack(lambda api: api.layers.BatchNormalization(renorm=True)),
    "branches": branches,
    "nested": nested,
    "many of a kind": many_of_a_kind,
    "functions": by_ops,
}


def inputs_of(name: str) -> Any:
    return {"a": X, "b": X[::-1].copy()} if name == "branches" else X


def targets_of(name: str) -> Any:
    y = np.stack([X[:, 0], X[:, 1] * X[:, 2]], axis=1)
    return {"p": y[:, :1], "q": y} if name == "branches" else y


def trained(api: Any, name: str, optimizer: str = "Adam") -> Any:
    api.utils.set_random_seed(3)
    model = MODELS[name](api)
    model.compile(getattr(api.optimizers, optimizer)(), "mse", metrics=None if name == "branches" else ["mae"])
    model.fit(inputs_of(name), targets_of(name), batch_size=8, epochs=2, verbose=0, shuffle=False)
    return model


def predicted(model: Any, name: str) -> list[Array]:
    answer = model.predict(inputs_of(name), verbose=0)
    return [np.asarray(each) for each in (answer.values() if isinstance(answer, dict) else [answer])]


def layer_names(model: Any) -> list[str]:
    """Without functions of tensors, which Keras does not count among the layers."""
    return [layer.name for layer in model.layers if not isinstance(layer, fastdl.layers.Operation)]


def assert_same(model: Any, again: Any, name: str, trains: bool = True) -> None:
    """Same answers; as many steps taken; and one more epoch, with what the optimizer keeps, comes to the same."""
    for mine, theirs in zip(predicted(model, name), predicted(again, name), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=2e-6)
    assert type(again.optimizer).__name__ == type(model.optimizer).__name__
    assert int(again.optimizer.iterations) == int(model.optimizer.iterations) >= 4
    if not trains:
        return
    for each in (model, again):
        each.fit(inputs_of(name), targets_of(name), batch_size=8, verbose=0, shuffle=False)
    for mine, theirs in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-4, atol=2e-5)


RANDOM = "noise", "batch norm"  # whose training draws other numbers


@pytest.mark.parametrize("name", MODELS)
def test_what_fastdl_writes_is_loaded_by_keras(name: str, tmp_path: Path) -> None:
    model = trained(fastdl, name)
    model.save(tmp_path / "m.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Keras warns of an optimizer that does not fit
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        again = keras.models.load_model(tmp_path / "m.keras")
    assert layer_names(again) == layer_names(model)
    assert_same(model, again, name, trains=name not in RANDOM)


@pytest.mark.parametrize("name", MODELS)
def test_what_keras_writes_is_loaded_by_fastdl(name: str, tmp_path: Path) -> None:
    model = trained(keras, name)
    model.save(tmp_path / "m.keras")
    again = fastdl.models.load_model(tmp_path / "m.keras")
    assert layer_names(again) == layer_names(model)
    assert_same(model, again, name, trains=name not in RANDOM)
    again.save(tmp_path / "again.keras")
    assert_same(again, keras.models.load_model(tmp_path / "again.keras"), name, trains=False)


@pytest.mark.parametrize("name", ["batch norm", "branches", "nested"])
def test_files_of_weights(name: str, tmp_path: Path) -> None:
    for writer, reader in ((fastdl, keras), (keras, fastdl)):
        model, again = trained(writer, name), MODELS[name](reader)
        model.save_weights(tmp_path / "m.weights.h5")
        again.load_weights(tmp_path / "m.weights.h5")
        for mine, theirs in zip(predicted(model, name), predicted(again, name), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", [name for name in fastdl.optimizers.CLASSES if name not in names.ONLY_HERE])
def test_what_optimizers_keep(name: str, tmp_path: Path) -> None:
    trains = name != "ScheduleFreeAdamW"  # Keras's steps on PyTorch are others, for it reads what it has just changed
    model = trained(fastdl, "dense", name)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    kept = [np.asarray(each.numpy()) for each in model.optimizer.variables]
    for mine, theirs in zip(kept, again.optimizer.variables, strict=name not in ("Adafactor", "Nadam")):
        assert name == "Adafactor" or np.allclose(mine, np.asarray(theirs.numpy()), rtol=1e-6)
    assert_same(model, again, "dense", trains)
    model = trained(keras, "dense", name)
    model.save(tmp_path / "m.keras")
    assert_same(model, fastdl.models.load_model(tmp_path / "m.keras"), "dense", trains)


# -- the tables of what either side lacks -----------------------------------------------------------------

BASES = {"Input", "Operation", "Functional", "Sequential"}


def test_each_class_is_keras_or_told_to_be_fastdls_alone() -> None:
    for module, classes in names.FAMILIES.items():
        if "." not in module or "src" in module or module == "keras.models":
            continue
        theirs: Any = keras
        for part in module.split(".")[1:]:
            theirs = getattr(theirs, part)
        for name in set(classes) - BASES - {"Functional"}:
            assert hasattr(theirs, name) != (name in names.ONLY_HERE), f"{module}.{name}: see names.ONLY_HERE"


ARGUMENTS: dict[str, Any] = {
    "units": 3,
    "rate": 0.1,
    "stddev": 0.1,
    "num_bins": 4,
    "n": 3,
    "input_dim": 5,
    "output_dim": 2,
    "axes": 1,
    "target_shape": (3, 2),
    "dims": (1,),
    "scale": 1.5,
    "initial_learning_rate": 0.1,
    "decay_steps": 10,
    "decay_rate": 0.9,
    "boundaries": [1, 2],
    "values": [0.1, 0.2, 0.3],
    "first_decay_steps": 10,
    "factor": 0.1,
    "num_tokens": 4,
    "recall": 0.5,
    "precision": 0.5,
    "sensitivity": 0.5,
    "specificity": 0.5,
    "activation": "relu",
    "bin_boundaries": [0.0, 1.0],
    "height_factor": 0.1,
    "width_factor": 0.1,
    "groups": 1,
    "model_dim": 4,
    "warmup_steps": 2,
}
NEEDS_TENSORFLOW = {"HashedCrossing", "Hashing", "IntegerLookup", "StringLookup"}
NEEDS_MORE = {"InputLayer", "Lambda", "MeanMetricWrapper", "SpectralNormalization", "Wrapper"}


def common() -> list[tuple[str, str]]:
    return [
        (module, name)
        for module, classes in names.FAMILIES.items()
        if "src" not in module and module not in ("keras", "keras.models")
        for name in classes
        if name not in names.ONLY_HERE | BASES | NEEDS_TENSORFLOW | NEEDS_MORE
    ]


def made(kind: Any) -> Any:
    import inspect

    needed = [
        name
        for name, parameter in inspect.signature(kind.__init__).parameters.items()
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD and name != "self"
    ]
    more = {"CategoryEncoding": ["num_tokens"], "Discretization": ["bin_boundaries"]}
    return kind(**{name: ARGUMENTS[name] for name in [*needed, *more.get(kind.__name__, [])]})


@pytest.mark.parametrize(("module", "name"), common())
def test_each_class_goes_there_and_back(module: str, name: str) -> None:
    mine = made(names.FAMILIES[module][name])
    told = fastdl.saving.serialize_keras_object(mine)
    theirs = keras.saving.deserialize_keras_object(told)
    assert type(theirs).__name__ == name
    back = fastdl.saving.deserialize_keras_object(keras.saving.serialize_keras_object(theirs))
    assert type(back) is type(mine)
    assert_alike(told["config"], fastdl.saving.serialize_keras_object(back)["config"])


def test_lookups_beside_what_keras_wrote_with_tensorflow(tmp_path: Path) -> None:
    """A config and a vocabulary as Keras 3.15 on TensorFlow wrote them, which Keras needs for such layers."""
    told = {
        "name": "words",
        "trainable": True,
        "invert": False,
        "max_tokens": None,
        "num_oov_indices": 1,
        "oov_token": "[UNK]",
        "mask_token": None,
        "output_mode": "one_hot",
        "sparse": False,
        "encoding": "utf-8",
        "pad_to_max_tokens": False,
        "idf_weights": None,
        "vocabulary": None,
        "vocabulary_size": 4,
        "salt": None,
        "oov_method": "floormod",
        "dtype": {
            "module": "keras",
            "class_name": "DTypePolicy",
            "config": {"name": "float32"},
            "registered_name": None,
        },
    }
    form = {"module": "keras.layers", "class_name": "StringLookup", "config": told, "registered_name": None}
    layer = fastdl.saving.deserialize_keras_object(form)
    layer.set_vocabulary(["[UNK]", "red", "green", "blue"])
    assert layer(np.array([["green"], ["pink"]])).tolist() == [[0, 0, 1, 0], [1, 0, 0, 0]]


def assert_alike(a: Any, b: Any, at: str = "") -> None:
    """The same config, but for Keras's float32 rounding and its spelling of pairs."""
    if isinstance(a, dict) and isinstance(b, dict):
        assert a.keys() == b.keys(), at
        for key in a:
            assert_alike(a[key], b[key], f"{at}/{key}")
    elif isinstance(a, float):
        assert b in (pytest.approx(a, rel=1e-6), [-a, a]), at
    elif at in ("/data_format", "/axis"):
        assert b in (a, [a], a or "channels_last"), at
    else:
        assert a == b, at


CALLS: dict[str, Any] = {
    "clip": (-1.0, 1.0),
    "reshape": ((-1, 3, 2),),
    "swapaxes": (1, 2),
    "expand_dims": (1,),
    "split": (2, 1),
    "repeat": (2, 1),
    "one_hot": (4,),
    "broadcast_to": ((None, 6),),
    "threshold": (0.1, 0.2),
    "cast": ("float32",),
    "take": (np.array([1, 0]), 1),
    "power": (2.0,),
    "where": (1.0, 0.5),
    "transpose": ((0, 1),),
    "squeeze": (),
    "get_item": ((slice(None), slice(1, 3)),),
}
TWO = {
    "add",
    "subtract",
    "multiply",
    "divide",
    "maximum",
    "minimum",
    "less",
    "less_equal",
    "equal",
    "true_divide",
    "greater",
}
TWO |= {"greater_equal", "not_equal", "logical_and", "logical_or", "logaddexp"}
OVER = {
    "sum",
    "mean",
    "prod",
    "max",
    "min",
    "amax",
    "amin",
    "any",
    "all",
    "var",
    "std",
    "logsumexp",
    "norm",
    "argmax",
    "argmin",
}
NOT_OF_TENSORS = {"convert_to_numpy", "shape", "convert_to_tensor", "matmul", "squeeze", "one_hot", "broadcast_to"}
OTHER_IN_KERAS = {"stack", "concatenate", "glu", "sparsemax"}  # its sparsemax does not sum to 1


@pytest.mark.parametrize("name", [name for name in KNOWN if name not in NOT_OF_TENSORS | OTHER_IN_KERAS])
def test_each_function_of_tensors(name: str, tmp_path: Path) -> None:
    x = fastdl.Input((6,))
    arguments = (
        (0.7,) if name in TWO else (None, 1) if name == "norm" else (1,) if name in OVER else CALLS.get(name, ())
    )
    given = (
        fastdl.ops.abs(x) + 1.5
        if name.startswith(("log", "sqrt", "rsqrt")) and name not in ("log_softmax", "log_sigmoid")
        else x
    )
    if name in ("swapaxes", "squeeze"):
        given = fastdl.layers.Reshape((2, 3))(x)
    outputs = given[:, 1:3] if name == "get_item" else getattr(fastdl.ops, name)(given, *arguments)
    model = fastdl.Model(x, outputs)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    rows = X * (1 if name != "arctanh" else 0.1)
    answers, theirs = model.predict(rows), again.predict(rows, verbose=0)
    for mine, other in zip(*(each if isinstance(each, list) else [each] for each in (answers, theirs)), strict=True):
        np.testing.assert_allclose(mine, np.asarray(other, "float32"), rtol=1e-4, atol=1e-5)
    back = fastdl.models.load_model(tmp_path / "m.keras").predict(rows)
    for mine, other in zip(*(each if isinstance(each, list) else [each] for each in (answers, back)), strict=True):
        assert np.array_equal(mine, other)


def test_embeddings_and_what_was_adapted(tmp_path: Path) -> None:
    for writer, reader in ((fastdl, keras), (keras, fastdl)):
        scaled = writer.layers.Normalization()
        scaled.adapt(X)
        model = writer.Sequential([writer.Input((6,)), scaled, writer.layers.Dense(2)])
        model.save(tmp_path / "m.keras")
        again = reader.models.load_model(tmp_path / "m.keras")
        np.testing.assert_allclose(model.predict(X, verbose=0), again.predict(X, verbose=0), rtol=2e-5, atol=2e-6)
        model = writer.Sequential([writer.Input((3,)), writer.layers.Embedding(5, 4), writer.layers.Flatten()])
        model.save(tmp_path / "m.keras")
        again = reader.models.load_model(tmp_path / "m.keras")
        assert np.array_equal(model.predict(CODES, verbose=0), again.predict(CODES, verbose=0))


def test_mixed_bfloat16(tmp_path: Path) -> None:
    fastdl.config.round_to_bfloat16(True)
    try:
        for writer, reader in ((fastdl, keras), (keras, fastdl)):
            model = writer.Sequential(
                [writer.Input((6,)), writer.layers.Dense(4, dtype="mixed_bfloat16"), writer.layers.Dense(2)]
            )
            model.save(tmp_path / "m.keras")
            again = reader.models.load_model(tmp_path / "m.keras")
            mixed = again.layers[0].dtype_policy
            assert getattr(mixed, "name", mixed) == "mixed_bfloat16"
            np.testing.assert_allclose(model.predict(X, verbose=0), again.predict(X, verbose=0), rtol=0.02, atol=0.02)
    finally:
        fastdl.config.round_to_bfloat16(False)


@pytest.mark.parametrize("name", ["dense", "branches", "nested"])
def test_configs_of_keras(name: str) -> None:
    theirs = MODELS[name](keras)
    kind = fastdl.Model if name != "dense" else fastdl.Sequential
    mine = kind.from_config(theirs.get_config())
    mine.set_weights(theirs.get_weights())
    for one, other in zip(predicted(mine, name), predicted(theirs, name), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


def test_keras_lambda_is_refused(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((6,)), keras.layers.Lambda(lambda x: x * 2)])
    model.save(tmp_path / "m.keras")
    for safe_mode in (True, False):
        with pytest.raises(fastdl.errors.ModelFileError, match="arbitrary code execution"):
            fastdl.models.load_model(tmp_path / "m.keras", safe_mode=safe_mode)


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (lambda: keras.layers.Conv1D(2, 1), "Conv1D"),
        (lambda: keras.layers.Embedding(4, 2, mask_zero=True), "mask_zero"),
        (lambda: keras.layers.Dense(2, dtype="mixed_float16"), "mixed_float16"),
    ],
)
def test_what_fastdl_lacks_is_named(layer: Any, named: str, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3, 6)), layer()])
    model.save(tmp_path / "m.keras")
    with pytest.raises(fastdl.errors.ModelFileError, match=named) as error:
        fastdl.models.load_model(tmp_path / "m.keras")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (lambda: fastdl.layers.RReLU(), "Keras has no RReLU"),
        (lambda: fastdl.layers.Dense(2, learning_rate_factors={"bias": 0.1}), "has no learning_rate_factors"),
        (lambda: fastdl.layers.Dropout(fastdl.schedules.ExponentialDecay(0.3, 10, 0.9)), "rate follows a schedule"),
        (lambda: fastdl.layers.Lambda(lambda x: x), "has no name that a file could hold"),
    ],
)
def test_what_keras_lacks_is_named(layer: Any, named: str, tmp_path: Path) -> None:
    model = fastdl.Sequential([fastdl.Input((6,)), layer()])
    with pytest.raises(ValueError, match=named) as error:
        model.save(tmp_path / "m.keras")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_all_layers_are_in_the_tables() -> None:
    assert set(CLASSES) - names.ONLY_HERE - BASES - NEEDS_TENSORFLOW - NEEDS_MORE == {
        name for module, name in common() if module == "keras.layers"
    }
