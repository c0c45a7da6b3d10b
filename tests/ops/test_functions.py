"""fastdl.ops by Keras's names: on arrays numpy's values; compiled the same values, the gradients that differences show,
and the same again in the ONNX file. A function without a row here fails the last test."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from fastdl import layers, models, ops, optimizers
from fastdl.compiler.graph import Tensor
from fastdl.errors import ShapeError
from fastdl.ops.numeric import BY_NAME

ROWS, SHAPE = 5, (2, 3)


def silu(x):
    return x / (1 + np.exp(-x))


def normal_error(x):
    from math import erf

    return np.vectorize(erf)(x)


def nearest_on_simplex(x):
    """Of each row, by bisection: max(x - t, 0), with t such that it sums to one (Martins and Astudillo 2016)."""
    low, high = x.min(-1, keepdims=True) - 1, x.max(-1, keepdims=True)
    for _ in range(100):
        middle = (low + high) / 2
        above = np.maximum(x - middle, 0).sum(-1, keepdims=True) > 1
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.maximum(x - low, 0)


PLAIN_POWERS = -2, -1, -0.5, 0.5, 1, 2, 3, 4  # those that products, roots and quotients give

# name: (what is computed of x (batch, 2, 3), the same by numpy, whether a file can hold it in float64)
CASES = {
    "add": (lambda x: x + 2.0, lambda x: x + 2),
    "subtract": (lambda x: 1 - x, lambda x: 1 - x),
    "multiply": (lambda x: x * x[:, :1], lambda x: x * x[:, :1]),
    "divide": (lambda x: x / (abs(x) + 1), lambda x: x / (abs(x) + 1)),
    "true_divide": (lambda x: ops.true_divide(2.0, abs(x) + 1), lambda x: 2 / (abs(x) + 1)),
    "power": (
        lambda x: ops.power(abs(x), 1.7) + x**3 + (abs(x) + 1) ** -0.5,
        lambda x: abs(x) ** 1.7 + x**3 + (abs(x) + 1) ** -0.5,
    ),
    **{f"power {n}": ((lambda x, n=n: (abs(x) + 1) ** n), (lambda x, n=n: (abs(x) + 1) ** n)) for n in PLAIN_POWERS},
    "maximum": (lambda x: ops.maximum(x, 0.3), lambda x: np.maximum(x, 0.3)),
    "minimum": (lambda x: ops.minimum(x, x[:, :, :1]), lambda x: np.minimum(x, x[:, :, :1])),
    "where": (lambda x: ops.where(x > 0, x, 0.1 * x), lambda x: np.where(x > 0, x, 0.1 * x)),
    "less": (lambda x: x * (x < 0.5), lambda x: x * (x < 0.5)),
    "less_equal": (lambda x: x * ops.less_equal(x, 0.5), lambda x: x * (x <= 0.5)),
    "greater": (lambda x: x * ops.greater(x, 0.5), lambda x: x * (x > 0.5)),
    "greater_equal": (lambda x: x * (x >= 0.5), lambda x: x * (x >= 0.5)),
    "equal": (lambda x: x + ops.equal(x, x), lambda x: x + 1),
    "not_equal": (lambda x: x + ops.not_equal(x, x), lambda x: x),
    "logical_not": (lambda x: x * ops.logical_not(x > 0), lambda x: x * (x <= 0)),
    "logical_and": (lambda x: x * ops.logical_and(x > 0, x < 1), lambda x: x * ((x > 0) & (x < 1))),
    "logical_or": (lambda x: x * ops.logical_or(x < 0, x > 1), lambda x: x * ((x < 0) | (x > 1))),
    "negative": (lambda x: -x, lambda x: -x),
    "absolute": (lambda x: ops.absolute(x), np.abs),
    "abs": (lambda x: abs(x) * x, lambda x: abs(x) * x),
    "sign": (lambda x: x + ops.sign(x), lambda x: x + np.sign(x)),
    "square": (lambda x: ops.square(x), np.square),
    "sqrt": (lambda x: ops.sqrt(abs(x)), lambda x: np.sqrt(abs(x))),
    "rsqrt": (lambda x: ops.rsqrt(abs(x) + 1), lambda x: 1 / np.sqrt(abs(x) + 1)),
    "reciprocal": (lambda x: ops.reciprocal(x * x + 1), lambda x: 1 / (x * x + 1)),
    "exp": (lambda x: ops.exp(x), np.exp),
    "expm1": (lambda x: ops.expm1(x), np.expm1),
    "log": (lambda x: ops.log(abs(x)), lambda x: np.log(abs(x))),
    "log1p": (lambda x: ops.log1p(abs(x)), lambda x: np.log1p(abs(x))),
    "log2": (lambda x: ops.log2(abs(x)), lambda x: np.log2(abs(x))),
    "log10": (lambda x: ops.log10(abs(x)), lambda x: np.log10(abs(x))),
    "logaddexp": (lambda x: ops.logaddexp(x, 2 * x), lambda x: np.logaddexp(x, 2 * x)),
    "tanh": (lambda x: ops.tanh(x), np.tanh),
    "sinh": (lambda x: ops.sinh(x), np.sinh),
    "cosh": (lambda x: ops.cosh(x), np.cosh),
    "sin": (lambda x: ops.sin(x), np.sin),
    "cos": (lambda x: ops.cos(x), np.cos),
    "tan": (lambda x: ops.tan(0.3 * x), lambda x: np.tan(0.3 * x)),
    "sigmoid": (lambda x: x * ops.sigmoid(x), silu),
    "softplus": (lambda x: ops.softplus(x), lambda x: np.logaddexp(x, 0)),
    "relu": (lambda x: ops.relu(x * x[:, :, :1]), lambda x: np.maximum(x * x[:, :, :1], 0)),
    "erf": (lambda x: ops.erf(x), normal_error),
    "floor": (lambda x: x * ops.floor(x), lambda x: x * np.floor(x)),
    "ceil": (lambda x: x * ops.ceil(x), lambda x: x * np.ceil(x)),
    "clip": (lambda x: ops.clip(x, -0.5, 0.5), lambda x: np.clip(x, -0.5, 0.5)),
    "cast": (lambda x: x * ops.cast(x, "bool") + ops.cast(3 * x, "int32"), lambda x: x + np.trunc(3 * x)),
    "zeros_like": (lambda x: x + ops.zeros_like(x), lambda x: x),
    "ones_like": (lambda x: x + ops.ones_like(x), lambda x: x + 1),
    "stop_gradient": (lambda x: x * ops.stop_gradient(x * 0 + 2), lambda x: 2 * x),
    "sum": (lambda x: ops.sum(x, axis=1), lambda x: x.sum(1)),
    "mean": (lambda x: ops.mean(x, axis=(1, 2), keepdims=True), lambda x: x.mean((1, 2), keepdims=True)),
    "prod": (lambda x: ops.prod(x, axis=-1), lambda x: x.prod(-1)),
    "max": (lambda x: ops.max(x, axis=2), lambda x: x.max(2)),
    "min": (lambda x: ops.min(x, axis=(1, 2)), lambda x: x.min((1, 2))),
    "amax": (lambda x: ops.amax(x, axis=1, keepdims=True), lambda x: x.max(1, keepdims=True)),
    "amin": (lambda x: ops.amin(x, axis=1), lambda x: x.min(1)),
    "any": (lambda x: x * ops.any(x > 1, axis=-1, keepdims=True), lambda x: x * (x > 1).any(-1, keepdims=True)),
    "all": (lambda x: x * ops.all(x > -1, axis=-1, keepdims=True), lambda x: x * (x > -1).all(-1, keepdims=True)),
    "var": (lambda x: ops.var(x, axis=-1), lambda x: x.var(-1)),
    "std": (lambda x: ops.std(x, axis=(1, 2)), lambda x: x.std((1, 2))),
    "over the batch": (lambda x: x - ops.mean(x, axis=0), lambda x: x - x.mean(0)),
    "sum of all": (lambda x: x * ops.sum(x), lambda x: x * x.sum()),
    "logsumexp": (lambda x: ops.logsumexp(x, axis=-1), lambda x: np.log(np.exp(x).sum(-1))),
    "softmax": (lambda x: ops.softmax(x), lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
    "softmax along 1": (lambda x: ops.softmax(x, axis=1), lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
    "log_softmax": (lambda x: ops.log_softmax(x), lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True))),
    "norm": (lambda x: ops.norm(x, axis=-1), lambda x: np.linalg.norm(x, axis=-1)),
    "norm of order 1": (lambda x: ops.norm(x, 1, axis=-1), lambda x: abs(x).sum(-1)),
    "normalize": (lambda x: ops.normalize(x), lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)),
    "argmax": (lambda x: x + ops.argmax(x, axis=-1, keepdims=True), lambda x: x + x.argmax(-1, keepdims=True)),
    "argmin": (lambda x: x + ops.argmin(x, axis=1, keepdims=True), lambda x: x + x.argmin(1, keepdims=True)),
    "cumsum": (lambda x: ops.cumsum(x, axis=1), lambda x: x.cumsum(1)),
    "cumsum of the last": (lambda x: ops.cumsum(x), lambda x: x.cumsum(-1)),
    "matmul": (lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1))), lambda x: x @ x.transpose(0, 2, 1)),
    "by a matrix": (lambda x: x @ np.arange(6.0).reshape(3, 2), lambda x: x @ np.arange(6.0).reshape(3, 2)),
    "by a vector": (lambda x: x @ np.arange(3.0), lambda x: x @ np.arange(3.0)),
    "concatenate": (lambda x: ops.concatenate([x, 2 * x], axis=2), lambda x: np.concatenate([x, 2 * x], 2)),
    "concatenate along 1": (lambda x: ops.concatenate([x, x * x], axis=1), lambda x: np.concatenate([x, x * x], 1)),
    "stack": (lambda x: ops.stack([x[:, 0], x[:, 1]], axis=2), lambda x: np.stack([x[:, 0], x[:, 1]], 2)),
    "split": (lambda x: ops.split(x, 3, axis=2)[1], lambda x: x[:, :, 1:2]),
    "split at": (lambda x: ops.split(x, [1], axis=-1)[1], lambda x: x[:, :, 1:]),
    "take": (lambda x: ops.take(x, [2, 0, 0], axis=-1), lambda x: x[:, :, [2, 0, 0]]),
    "[:, i]": (lambda x: x[:, 1, ::2], lambda x: x[:, 1, ::2]),
    "[..., None]": (lambda x: x[..., None, 1], lambda x: x[..., None, 1]),
    "flip": (lambda x: ops.flip(x, axis=2), lambda x: x[:, :, ::-1]),
    "repeat": (lambda x: ops.repeat(x, 2, axis=1), lambda x: x.repeat(2, 1)),
    "reshape": (lambda x: ops.reshape(x, (-1, 3, 2)), lambda x: x.reshape(-1, 3, 2)),
    "transpose": (lambda x: ops.transpose(x, (0, 2, 1)), lambda x: x.transpose(0, 2, 1)),
    "swapaxes": (lambda x: ops.swapaxes(x, 1, -1), lambda x: x.swapaxes(1, 2)),
    "expand_dims": (lambda x: ops.expand_dims(x, 2), lambda x: x[:, :, None]),
    "squeeze": (lambda x: ops.squeeze(x[:, :1], 1), lambda x: x[:, 0]),
    "broadcast_to": (
        lambda x: ops.broadcast_to(x[:, :1], (None if isinstance(x, Tensor) else len(x), 2, 3)),
        lambda x: np.repeat(x[:, :1], 2, 1),
    ),
    "one_hot": (
        lambda x: x[:, :1] * ops.transpose(ops.one_hot(ops.argmax(x, -1), 3), (0, 1, 2))[:, :1],
        lambda x: x[:, :1] * np.eye(3)[x.argmax(-1)][:, :1],
    ),
    "celu": (lambda x: ops.celu(x, 0.7), lambda x: np.maximum(x, 0) + 0.7 * np.expm1(np.minimum(x, 0) / 0.7)),
    "glu": (lambda x: ops.glu(x, axis=1), lambda x: x[:, :1] / (1 + np.exp(-x[:, 1:]))),
    "hard_tanh": (lambda x: ops.hard_tanh(x), lambda x: np.clip(x, -1, 1)),
    "hard_shrink": (lambda x: ops.hard_shrink(x), lambda x: np.where(abs(x) > 0.5, x, 0)),
    "soft_shrink": (lambda x: ops.soft_shrink(x), lambda x: np.sign(x) * np.maximum(abs(x) - 0.5, 0)),
    "tanh_shrink": (lambda x: ops.tanh_shrink(x), lambda x: x - np.tanh(x)),
    "log_sigmoid": (lambda x: ops.log_sigmoid(x), lambda x: -np.logaddexp(-x, 0)),
    "sparse_plus": (
        lambda x: ops.sparse_plus(x),
        lambda x: np.where(x <= -1, 0, np.where(x < 1, (x + 1) ** 2 / 4, x)),
    ),
    "sparse_sigmoid": (lambda x: ops.sparse_sigmoid(x), lambda x: np.clip((x + 1) / 2, 0, 1)),
    "sparsemax": (lambda x: ops.sparsemax(x), nearest_on_simplex),
    "squareplus": (lambda x: ops.squareplus(x), lambda x: (x + np.sqrt(x * x + 4)) / 2),
    "threshold": (lambda x: ops.threshold(x, 0.2, 0.1), lambda x: np.where(x > 0.2, x, 0.1)),
    "more functions than one kernel holds": (
        lambda x: sum_of_many(x),
        lambda x: sum(np.sin(x * k) * np.cos(x + k) for k in range(1, 60)),
    ),
}
NO_FLOAT64 = {"erf"}  # onnxruntime has none
ON_ARRAYS_ONLY = {"convert_to_numpy", "convert_to_tensor", "shape"}


def sum_of_many(x):
    total = ops.sin(x) * ops.cos(x + 1)
    for k in range(2, 60):
        total = total + ops.sin(x * k) * ops.cos(x + k)
    return total


class Compute(layers.Layer):
    """The function of its input, (batch, 2, 3)."""

    def __init__(self, function, **options):
        super().__init__(**options)
        self.function = function

    def call(self, x):
        return self.function(x)


def values(dtype=np.float64):
    x = np.random.default_rng(7).normal(size=(ROWS, *SHAPE)).astype(dtype)
    return np.where(abs(x) < 0.05, 0.05, x).astype(dtype)  # away from kinks and poles


def net(function, dtype="float64"):
    """A model whose first layer's kernel is what the function is of, sample by sample, for rows of the identity."""
    hidden = [layers.Input((ROWS,)), layers.Dense(6, use_bias=False), layers.Reshape(SHAPE)]
    model = models.Sequential([*hidden, Compute(function), layers.Flatten()], dtype=dtype)
    model.trace()
    return model


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_function_gives_numpys_values_on_arrays_and_compiled(name, dtype):
    function, reference = CASES[name]
    x, exact = values(dtype), reference(values(dtype).astype(np.float64))
    tolerance = {"rtol": 3e-5, "atol": 3e-5} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-11}
    np.testing.assert_allclose(function(x), exact, **tolerance)
    model = net(function, dtype)
    model.set_weights([x.reshape(ROWS, 6)])
    answers = model.predict(np.eye(ROWS))
    np.testing.assert_allclose(answers, np.reshape(exact, (ROWS, -1)), **tolerance)


@pytest.mark.parametrize("name", CASES)
def test_its_gradient_is_what_differences_show(name):
    function, _ = CASES[name]
    model, rng, x = net(function), np.random.default_rng(3), values().reshape(ROWS, 6)
    target = rng.normal(size=(ROWS, model.output_shape[1]))
    model.compile(optimizers.SGD(1.0), lambda y_true, y_pred: ops.sum(y_true * y_pred, axis=-1))

    def loss(weights):
        model.set_weights([weights])
        return model.evaluate(np.eye(ROWS), target)

    loss(x)
    model.train_on_batch(np.eye(ROWS), target)
    gradient = x - model.get_weights()[0]
    for _ in range(3):
        direction = rng.normal(size=x.shape)
        along = (loss(x + 1e-6 * direction) - loss(x - 1e-6 * direction)) / 2e-6
        assert (gradient * direction).sum() == pytest.approx(along, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_file_holds_it(name, dtype, tmp_path):
    if dtype == "float64" and name in NO_FLOAT64:
        pytest.skip("onnxruntime computes it in float32 only")
    model = net(CASES[name][0], dtype)
    model.set_weights([values(dtype).reshape(ROWS, 6)])
    model.export(tmp_path / "plain.onnx", fuse=False)
    session = onnxruntime.InferenceSession(tmp_path / "plain.onnx", providers=["CPUExecutionProvider"])
    (answers,) = session.run(None, {"input": np.eye(ROWS, dtype=dtype)})
    np.testing.assert_allclose(answers, model.predict(np.eye(ROWS)), rtol=2e-4, atol=2e-5)


def test_each_function_has_a_case():
    known = set(BY_NAME)
    assert known - set(CASES) == ON_ARRAYS_ONLY


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda x: x + np.ones((4, 5)), "do not fit together"),
        (lambda x: ops.sum(x, axis=5), "axis 5 is not one of"),
        (lambda x: x[0], r"begin with \[:"),
        (lambda x: ops.max(x, axis=0), "over the batch"),
        (lambda x: ops.reshape(x, (-1, 4)), "asks for another count"),
        (lambda x: ops.squeeze(x, 1), "axes of size 1"),
        (lambda x: ops.matmul(x, x), "do not fit together"),
        (lambda x: ops.split(x, 2, axis=-1), "does not make 2 parts"),
    ],
)
def test_shapes_that_do_not_fit_are_told(function, told):
    with pytest.raises(ShapeError, match=told):
        net(function)


def test_a_tensor_is_neither_true_nor_iterable_nor_an_array():
    def branches(x):
        return x if x > 0 else -x

    for function in (branches, lambda x: sum(x), np.asarray):
        with pytest.raises(TypeError, match="no values yet"):
            net(function)
