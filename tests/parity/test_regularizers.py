"""Regularizers and constraints for 100 steps as Keras takes them, from the same weights and batches."""

import functools
import inspect
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import regularizers

from .runs import floatx, keras_precision, worst
from .table import AFTER_RTOL, FEATURES, LOSS_RTOL, NETS, Array, Dtype, numbers

pytestmark = [
    pytest.mark.peer,
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras with numpy 2
]

Made = tuple[str, dict[str, Any]]  # a class of the module that the option's name ends in, and its arguments
Row = tuple[Made, Made | None, dict[str, Made]]  # optimizer, a layer between two Dense, options

SGD: Made = "SGD", {"learning_rate": 0.05}
ADAM: Made = "Adam", {"learning_rate": 1e-3}
OPTIMIZERS = {"sgd": SGD, "adam": ADAM}

# strengths are powers of two: Keras keeps some of them in float32
REGULARIZERS: dict[str, Made] = {
    "l1": ("L1", {"l1": 2**-8}),
    "l2": ("L2", {"l2": 2**-6}),
    "l1-l2": ("L1L2", {"l1": 2**-9, "l2": 2**-7}),
}
CONSTRAINTS: dict[str, Made] = {
    "max-norm": ("MaxNorm", {"max_value": 0.75}),
    "unit-norm": ("UnitNorm", {}),
    "non-neg": ("NonNeg", {}),
    "min-max-norm": ("MinMaxNorm", {"min_value": 0.5, "max_value": 0.8, "rate": 0.25}),
}
ALONG: dict[str, Made] = {
    "max-norm-rows": ("MaxNorm", {"max_value": 0.9, "axis": 1}),
    "max-norm-all": ("MaxNorm", {"max_value": 3.0, "axis": [0, 1]}),
    "unit-norm-last": ("UnitNorm", {"axis": -1}),
    "min-max-norm-rows": ("MinMaxNorm", {"min_value": 0.7, "max_value": 0.8, "axis": 1}),
}
BN: Made = "BatchNormalization", {}
LN: Made = "LayerNormalization", {}
L1, L2 = REGULARIZERS["l1"], REGULARIZERS["l2"]

ROWS: dict[str, Row] = {
    f"{name}-{place}-{optimizer}": (made, None, {f"{place}_regularizer": how})
    for name, how in REGULARIZERS.items()
    for place in ("kernel", "bias", "activity")
    for optimizer, made in OPTIMIZERS.items()
}
ROWS |= {
    f"{name}-{place}-{optimizer}": (made, None, {f"{place}_constraint": how})
    for name, how in CONSTRAINTS.items()
    for place in ("kernel", "bias")
    for optimizer, made in OPTIMIZERS.items()
}
ROWS |= {f"{name}-sgd": (SGD, None, {"kernel_constraint": how}) for name, how in ALONG.items()}
ROWS |= {
    "all-at-once": (
        ADAM,
        None,
        {
            "kernel_regularizer": L2,
            "bias_regularizer": L1,
            "activity_regularizer": L1,
            "kernel_constraint": CONSTRAINTS["max-norm"],
            "bias_constraint": CONSTRAINTS["non-neg"],
        },
    ),
    "orthogonal-rows": (SGD, None, {"kernel_regularizer": ("OrthogonalRegularizer", {"factor": 4.0})}),
    "orthogonal-columns": (
        ADAM,
        None,
        {"kernel_regularizer": ("OrthogonalRegularizer", {"factor": 4.0, "mode": "columns"})},
    ),
    "l2-value": (("SGD", {"learning_rate": 0.1, "clipvalue": 0.02}), None, {"kernel_regularizer": L2}),
    "l2-norm": (("SGD", {"learning_rate": 0.1, "clipnorm": 0.2}), None, {"kernel_regularizer": L2}),
    "l1-global": (("Adam", {"global_clipnorm": 0.2}), None, {"kernel_regularizer": L1, "bias_regularizer": L2}),
    "l2-decay": (("AdamW", {"weight_decay": 0.1}), None, {"kernel_regularizer": L2}),
    "l2-momentum": (("SGD", {"learning_rate": 0.02, "momentum": 0.9}), None, {"kernel_regularizer": L2}),
    "max-norm-ema": (
        ("SGD", {"learning_rate": 0.1, "use_ema": True, "ema_momentum": 0.7, "ema_overwrite_frequency": 7}),
        None,
        {"kernel_constraint": CONSTRAINTS["max-norm"]},
    ),
    "non-neg-decay": (
        ("SGD", {"learning_rate": 0.05, "weight_decay": 0.1}),
        None,
        {"kernel_constraint": CONSTRAINTS["non-neg"]},
    ),
    "bn-regularized": (SGD, (BN[0], {"gamma_regularizer": L2, "beta_regularizer": L1}), {}),
    "bn-constrained": (
        ADAM,
        (BN[0], {"gamma_constraint": CONSTRAINTS["max-norm"], "beta_constraint": CONSTRAINTS["non-neg"]}),
        {},
    ),
    "bn-activity": (SGD, (BN[0], {"activity_regularizer": L1}), {}),
    "ln-regularized": (SGD, (LN[0], {"gamma_regularizer": L1, "beta_regularizer": L2}), {}),
    "ln-constrained": (
        ADAM,
        (LN[0], {"gamma_constraint": CONSTRAINTS["min-max-norm"], "beta_constraint": CONSTRAINTS["unit-norm"]}),
        {},
    ),
    "prelu-regularized": (SGD, ("PReLU", {"alpha_regularizer": L2}), {}),
    "prelu-constrained": (ADAM, ("PReLU", {"alpha_constraint": CONSTRAINTS["max-norm"]}), {}),
    "activity-layer": (SGD, ("ActivityRegularization", {"l1": 2**-9, "l2": 2**-8}), {}),
}
each_row = pytest.mark.parametrize("name", ROWS)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
Run = tuple[Array, list[Array], Array, list[float]]


def options_of(api: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Each that names a class made of the module that its own name ends in."""
    return {
        name: getattr(getattr(api, f"{name.rpartition('_')[2]}s"), value[0])(**value[1])
        if isinstance(value, tuple)
        else value
        for name, value in options.items()
    }


def model_of(api: Any, row: Row) -> Any:
    _, between, options = row
    made = [getattr(api.layers, between[0])(**options_of(api, between[1]))] if between else []
    hidden = api.layers.Dense(33, "tanh", **options_of(api, options))
    return api.Sequential([api.Input((FEATURES,)), hidden, *made, api.layers.Dense(5, "softmax")])


def trained(api: Any, name: str, dtype: Dtype) -> Run:
    """Losses of 100 steps, the weights after them, what evaluate says of unequal batches, and the penalties."""
    row, given = ROWS[name], numbers(NETS["softmax"], dtype)
    model = model_of(api, row)
    (kind, arguments), net = row[0], NETS["softmax"]
    model.compile(getattr(api.optimizers, kind)(**arguments), net.loss)
    model.set_weights(starts(model))
    losses = []
    for x, y in given.batches:
        if hasattr(model, "reset_metrics"):
            model.reset_metrics()
        losses.append(model.train_on_batch(x, y))
    held = model.evaluate(given.x_new, given.y_new, batch_size=24, verbose=0)
    weights = [np.array(array) for array in model.get_weights()]
    penalties = [float(getattr(loss, "detach", lambda loss=loss: loss)()) for loss in model.losses]
    return np.array(losses, np.float64).ravel(), weights, np.atleast_1d(held), penalties


def starts(model: Any) -> list[Array]:
    """Weights to start from, by their names."""
    rng = np.random.default_rng(3)
    drawn = [(weight.name, rng.normal(0, 0.2, weight.shape)) for weight in model.weights]
    return [np.abs(1 + array) if name in ("gamma", "moving_variance") else array for name, array in drawn]


@functools.cache
def by_keras(name: str, dtype: Dtype) -> Run:
    keras = pytest.importorskip("keras")
    with keras_precision(keras, dtype):
        return trained(keras, name, dtype)


@functools.cache
def by_fastdl(name: str, dtype: Dtype) -> Run:
    with floatx(fastdl, dtype):
        return trained(fastdl, name, dtype)


def reference(name: str, dtype: Dtype) -> Run:
    """Keras's run; its float64 one where its float32 is not even that close to it.

    Orthogonal's slope jumps where two rows are at a right angle. Whose float32 comes out on the other side of such a
    jump goes another way from there on, and on some CPUs Keras's does.
    """
    run, exact = by_keras(name, dtype), by_keras(name, "float64")
    return run if worst(run[0], exact[0]) <= LOSS_RTOL[dtype] else exact


@each_dtype
@each_row
def test_losses_and_weights_as_keras(name: str, dtype: Dtype) -> None:
    losses, weights, held, penalties = by_fastdl(name, dtype)
    expected, after, tested, terms = reference(name, dtype)
    assert worst(losses, expected) <= LOSS_RTOL[dtype]
    assert worst(held, tested) <= 3 * LOSS_RTOL[dtype]
    for ours, theirs in zip(weights, after, strict=True):
        assert np.abs(ours - theirs).max() <= AFTER_RTOL[dtype] * np.abs(theirs).max()
    if "activity" not in name and name != "all-at-once":  # Keras keeps those of activities after a call
        assert penalties == pytest.approx(terms, rel=3e-5 if dtype == "float32" else 1e-9)


@each_row
def test_each_row_is_its_own(name: str) -> None:
    """No two rows give the same weights, so an option that does nothing is found."""
    _, weights, _, penalties = by_fastdl(name, "float64")
    for other in ROWS:
        if other != name:
            others = by_fastdl(other, "float64")[1]
            same = [a.shape == b.shape and np.allclose(a, b, rtol=1e-4) for a, b in zip(weights, others, strict=False)]
            assert not all(same), other
    assert len(penalties) == sum("_regularizer" in option and "activity" not in option for option in all_options(name))


def all_options(name: str) -> list[str]:
    _, between, options = ROWS[name]
    return [*options, *(between[1] if between else {})]


ARRAYS = {shape: np.random.default_rng(1).normal(0, 0.7, shape).astype("float32") for shape in ((7, 5), (40, 33))}


@pytest.mark.parametrize("shape", ARRAYS, ids=str)
@pytest.mark.parametrize("name", [*REGULARIZERS, *CONSTRAINTS, *ALONG, "orthogonal-rows"])
def test_called_on_an_array(name: str, shape: tuple[int, int]) -> None:
    keras = pytest.importorskip("keras")
    table = {**REGULARIZERS, "orthogonal-rows": ("OrthogonalRegularizer", {}), **CONSTRAINTS, **ALONG}
    kind, arguments = table[name]
    module = "regularizers" if hasattr(regularizers, kind) else "constraints"
    ours, theirs = (getattr(getattr(api, module), kind)(**arguments)(ARRAYS[shape]) for api in (fastdl, keras))
    np.testing.assert_allclose(ours, np.asarray(theirs), rtol=1e-5)


@pytest.mark.parametrize("module", ["regularizers", "constraints"])
def test_names_arguments_and_defaults(module: str) -> None:
    keras = pytest.importorskip("keras")
    ours, theirs = getattr(fastdl, module), getattr(keras, module)
    for name in (name for name in dir(theirs) if not name.startswith("_")):
        found, expected = getattr(ours, name), getattr(theirs, name)
        assert callable(found)
        if inspect.isclass(expected) and name not in ("Regularizer", "Constraint"):
            left, right = inspect.signature(found).parameters, inspect.signature(expected).parameters
            assert [(p.name, p.default) for p in left.values()] == [(p.name, p.default) for p in right.values()], name
            assert found().get_config() == pytest.approx(expected().get_config()), name


@pytest.mark.parametrize(
    "kind", ["Dense", "BatchNormalization", "LayerNormalization", "PReLU", "ActivityRegularization"]
)
def test_layers_take_them_in_keras_order(kind: str) -> None:
    keras = pytest.importorskip("keras")
    ours, theirs = (inspect.signature(getattr(api.layers, kind)).parameters for api in (fastdl, keras))
    named = [name for name, each in ours.items() if each.kind is each.POSITIONAL_OR_KEYWORD]  # others have no order
    assert named == list(theirs)[: len(named)]
    assert all(ours[name].default == theirs[name].default for name in named if "initializer" not in name)
