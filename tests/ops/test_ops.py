"""Every op: its gradients against finite differences in float64, and nothing missing in the registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import activations, initializers, layers, losses, ops
from fastdl.compiler.graph import Graph, Op, Tensor
from fastdl.errors import ShapeError

Array = np.ndarray[Any, Any]
Layers = Callable[[], list[Any]]


class Branches(layers.Layer):
    """Two dense layers side by side, and what makes one of them and of what they read."""

    def __init__(self, meet: Callable[[Tensor, Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.meet, self.one, self.other = meet, layers.Dense(11, "tanh"), layers.Dense(11, use_bias=False)

    def call(self, x: Tensor) -> Any:
        return self.meet(x, self.one(x), self.other(x))


class Cubed(layers.NumpyLayer):
    """w x³ + v, in numpy."""

    def build(self, shape: Any, dtype: Any) -> None:
        self.w = self.add_weight((shape[1],), initializers.Constant(0.3), dtype, name="w")
        self.v = self.add_weight((1, shape[1]), initializers.Constant(0.1), dtype, name="v")

    def forward(self, x: Array, *weights: Array) -> Array:
        w, v = weights
        return np.asarray(w * x**3 + v)

    def backward(self, x: Array, y: Array, dy: Array, *weights: Array) -> Any:
        return 3 * weights[0] * x**2 * dy, (x**3 * dy).sum(0), dy.sum(0, keepdims=True)


class Formula(layers.Layer):
    """What layers of one's own may compute, with weights of all ranks."""

    def build(self, shape: Any) -> None:
        self.slope = self.add_weight((), "ones", name="slope")
        self.scale = self.add_weight((shape[-1],), "ones", name="scale")
        self.mix = self.add_weight((4, shape[-1]), initializers.Constant(0.2), name="mix")
        self.cube = self.add_weight((2, 3, 2), initializers.Constant(0.1), name="cube")

    def call(self, x: Tensor) -> Any:
        paired = ops.matmul(x[:, :, None], x[:, None, :4])
        weighed = ops.sum(paired * ops.transpose(self.mix), axis=-1) * ops.exp(-self.slope)
        centred = (x - ops.mean(x, axis=0)) * self.scale + ops.stop_gradient(x * 0 + 2) * ops.sum(self.cube)
        error = losses.mean_squared_error(x[:, :3] * 0 + 1, x[:, 3:6])
        return weighed + centred * ops.sigmoid(error)[:, None] + np.linspace(0, 1, 11)


class Waves(layers.PeriodicEmbedding):
    """A variant "plr" without its ReLU, whose kinks a finite difference may step over."""

    def __init__(self, *sizes: Any, lite: bool = False) -> None:
        super().__init__(*sizes, variant="plr", lite=lite)

    def call(self, x: Tensor) -> Tensor:
        return ops.Periodic(x, self.frequencies, None, self.kernel, self.bias, True, False, self.name).output


def tied(bias: bool) -> list[Any]:
    dense = layers.Dense(7, "tanh")
    return [dense, layers.DenseTranspose(dense, "tanh", bias), layers.Dense(5)]


def twice() -> list[Any]:
    """One dense layer and one batch norm, each read from two places."""
    dense, norm = layers.Dense(11), layers.BatchNormalization()
    inner = fastdl.Sequential([dense, norm, layers.Dense(11, "tanh")])
    return [layers.Dense(11, "tanh"), inner, fastdl.Sequential([norm, dense]), layers.Dense(5)]


# name: (layers between the input and the loss, the ops that they must bring in)
class Quiet(layers.SpectralNormalization):
    """Never changes the kernel: finite differences could not tell a step's change from that."""

    def call(self, inputs: Tensor, training: bool | None = None) -> Any:
        return super().call(inputs, training=False)


NETS: dict[str, tuple[Layers, set[str]]] = {
    "dense": (lambda: [layers.Dense(5)], {"Dense"}),
    "no bias": (lambda: [layers.Dense(5, use_bias=False)], {"Dense"}),
    "relu": (lambda: [layers.Dense(17), layers.ReLU(), layers.Dense(5)], {"Dense", "Activation"}),
    "relu twice read": (lambda: [layers.ReLU(), layers.Dense(5)], {"Activation"}),
    "sigmoid": (lambda: [layers.Dense(7, activation="sigmoid"), layers.Dense(5)], {"Activation"}),
    "tanh": (lambda: [layers.Dense(7, activation="tanh"), layers.Dense(5)], {"Activation"}),
    "linear": (lambda: [layers.Dense(5, activation="linear"), layers.Activation("linear")], {"Activation"}),
    **{
        f"activation {name}": (lambda name=name: [layers.Dense(7, activation=name), layers.Dense(5)], set())
        for name in activations.NAMES
    },
    "log_softmax inside": (lambda: [layers.Dense(7, activation="log_softmax"), layers.Dense(5)], {"LogSoftmax"}),
    "softmax inside": (lambda: [layers.Dense(7, activation="softmax"), layers.Dense(5)], {"Softmax"}),
    "batch norm": (lambda: [layers.Dense(7), layers.BatchNormalization(), layers.Dense(5)], {"BatchNorm"}),
    "batch norm first": (lambda: [layers.BatchNormalization(), layers.Dense(5)], {"BatchNorm"}),
    "batch norm last": (lambda: [layers.Dense(5), layers.BatchNormalization()], {"BatchNorm"}),
    "batch norm, no affine": (
        lambda: [layers.Dense(7), layers.BatchNormalization(center=False, scale=False), layers.Dense(5)],
        {"BatchNorm"},
    ),
    "batch norm, frozen": (
        lambda: [layers.Dense(7), layers.BatchNormalization(trainable=False), layers.Dense(5)],
        {"BatchNorm"},
    ),
    "batch norm of the last axis": (
        lambda: [layers.Dense(12), layers.Reshape((2, 2, 3)), layers.BatchNormalization(), layers.Flatten()],
        {"Either"},
    ),
    "batch norm of the last axis, frozen": (
        lambda: [
            *(layers.Dense(12), layers.Reshape((4, 3)), layers.BatchNormalization(trainable=False)),
            *(layers.Flatten(), layers.Dense(5)),
        ],
        set(),
    ),
    "flatten": (lambda: [layers.Flatten(), layers.Dense(5)], {"Reshape"}),
    "dropout": (lambda: [layers.Dense(40), layers.Dropout(0.4), layers.Dense(5)], {"Dropout"}),
    "dropout of nothing": (lambda: [layers.Dense(7), layers.Dropout(0.0), layers.Dense(5)], {"Dropout"}),
    "prelu": (lambda: [layers.Dense(7), layers.PReLU(), layers.Dense(5)], {"PReLU"}),
    "prelu shared": (lambda: [layers.Dense(7), layers.PReLU("ones", shared_axes=1), layers.Dense(5)], set()),
    "dropout shared": (lambda: [layers.Dense(7), layers.Dropout(0.4, (None, 1)), layers.Dense(5)], {"Either"}),
    "alpha dropout shared": (lambda: [layers.Dense(7), layers.AlphaDropout(0.4, (None, 1)), layers.Dense(5)], set()),
    "spectral norm": (
        lambda: [layers.Dense(7), Quiet(layers.Dense(5, "tanh")), layers.Dense(5)],
        {"SpectralNorm"},
    ),
    "layer norm scaled": (
        lambda: [layers.Dense(7), layers.LayerNormalization(rms_scaling=True), layers.Dense(5)],
        set(),
    ),
    "embedding": (
        lambda: [layers.Rescaling(2, 3), layers.Embedding(5, 3), layers.Flatten(), layers.Dense(5)],
        {"Embedding"},
    ),
    "embedding of categories": (
        lambda: [
            layers.Rescaling(2, 3),
            layers.CategoryEmbedding([4, 3, 9] * 3 + [2, 5], 8, "normal"),
            layers.Dense(5),
        ],
        {"Embedding"},
    ),
    "embedding of categories, missing": (
        lambda: [
            layers.Rescaling(2),
            layers.CategoryEmbedding([4, 3] * 5 + [1], 5, zero_missing=True),
            layers.Dense(5),
        ],
        {"Embedding"},
    ),
    "embedding, held": (
        lambda: [
            layers.Rescaling(2, 3),
            layers.Embedding(7, 20, embeddings_regularizer=lambda w: (np.sum(w**3), 3 * w**2)),
            *(layers.Flatten(), layers.Dense(5)),
        ],
        {"Embedding"},
    ),
    "scale": (lambda: [layers.Dense(37), layers.Scale(), layers.Dense(5)], {"Scale"}),
    "scale first": (lambda: [layers.Scale(), layers.Dense(5)], {"Scale"}),
    "parametric selu": (
        lambda: [layers.Dense(37), layers.ParametricActivation("selu"), layers.Dense(5)],
        {"ParametricActivation"},
    ),
    "parametric mish first": (
        lambda: [layers.ParametricActivation("mish"), layers.Dense(5)],
        {"ParametricActivation"},
    ),
    "parametric in a dense layer": (
        lambda: [layers.Dense(7, layers.ParametricActivation(layers.ELU(0.3))), layers.Dense(5)],
        {"ParametricActivation"},
    ),
    "a formula of one's own": (
        lambda: [layers.Dense(11, "tanh"), Formula(), layers.Dense(5)],
        {"Elementwise", "Combine", "OverSamples", "ProductOfSamples", "View", "StopGradient", "WeightValue", "Constant"}
        | {"PerSampleLoss"},
    ),
    "pbld": (lambda: [layers.PeriodicEmbedding(), layers.Dense(5)], {"Periodic"}),
    "pbld inside": (lambda: [layers.Dense(7), layers.PeriodicEmbedding(3, 5, 0.5), layers.Dense(5)], {"Periodic"}),
    "pbld, lite": (
        lambda: [layers.Dense(7), layers.PeriodicEmbedding(6, 5, 0.5, lite=True), layers.Dense(5)],
        {"Periodic"},
    ),
    "waves": (lambda: [layers.Dense(3), Waves(5, 7, 0.5), layers.Dense(5)], {"Periodic"}),
    "waves of one kernel": (lambda: [layers.Dense(7), Waves(9, 3, 0.5, lite=True), layers.Dense(5)], {"Periodic"}),
    "piecewise linear": (
        lambda: [layers.Dense(7), layers.PiecewiseLinearEncoding([3, 1, 2, 7, 5, 1, 4]), layers.Dense(5)],
        {"PiecewiseLinear"},
    ),
    "prelu first": (lambda: [layers.PReLU(), layers.Dense(5)], {"PReLU"}),
    "prelu in a dense layer": (lambda: [layers.Dense(37, activation=layers.PReLU()), layers.Dense(5)], {"PReLU"}),
    "rrelu": (lambda: [layers.Dense(7), layers.RReLU(), layers.Dense(5)], {"RReLU"}),
    "relu, all": (lambda: [layers.Dense(7), layers.ReLU(0.9, 0.3, 0.2), layers.Dense(5)], {"Activation"}),
    "layer norm": (lambda: [layers.Dense(37), layers.LayerNormalization(), layers.Dense(5)], {"LayerNorm"}),
    "layer norm first": (lambda: [layers.LayerNormalization(), layers.Dense(5)], {"LayerNorm"}),
    "layer norm, no affine": (
        lambda: [layers.Dense(7), layers.LayerNormalization(center=False, scale=False), layers.Dense(5)],
        {"LayerNorm"},
    ),
    "gaussian noise": (lambda: [layers.Dense(7), layers.GaussianNoise(0.3), layers.Dense(5)], {"Noise"}),
    "gaussian dropout": (lambda: [layers.Dense(7), layers.GaussianDropout(0.3), layers.Dense(5)], {"Noise"}),
    "alpha dropout": (
        lambda: [layers.Dense(7, "selu"), layers.AlphaDropout(0.3), layers.Dense(5)],
        {"Noise", "Activation"},
    ),
    "rescaling, identity": (
        lambda: [layers.Rescaling(0.5, 0.1), layers.Dense(7), layers.Rescaling(2), layers.Identity(), layers.Dense(5)],
        {"Activation", "Reshape"},
    ),
    "add": (
        lambda: [Branches(lambda x, a, b: layers.Add()([a, b, x])), layers.Dense(5)],
        {"Add"},
    ),
    "add one alone": (
        lambda: [Branches(lambda x, a, b: ops.Add([a], [0.5]).output), layers.Dense(5)],
        {"Add"},
    ),
    "subtract, average": (
        lambda: [Branches(lambda x, a, b: layers.Average()([layers.Subtract()([a, b]), b, a])), layers.Dense(5)],
        {"Add"},
    ),
    "multiply": (
        lambda: [Branches(lambda x, a, b: layers.Multiply()([a, b, a])), layers.Dense(5)],
        {"Multiply"},
    ),
    "concatenate": (
        lambda: [Branches(lambda x, a, b: layers.Concatenate()([x, a, b, a])), layers.Dense(5)],
        {"Concatenate"},
    ),
    "read by many, rectified": (
        lambda: [
            layers.Dense(11),
            layers.BatchNormalization(),
            layers.ReLU(),
            Branches(lambda x, a, b: layers.Add()([a, b])),
            layers.ReLU(),
            Branches(lambda x, a, b: layers.Add()([a, layers.ReLU()(b)])),
            layers.Dense(5),
        ],
        {"Add"},
    ),
    "tied": (lambda: tied(True), {"TiedDense"}),
    "tied, no bias": (lambda: tied(False), {"TiedDense"}),
    "twice": (twice, {"Dense"}),
    "own": (lambda: [layers.Dense(7), Cubed(), layers.Dense(5)], {"Own"}),
    "own first": (lambda: [Cubed(), layers.Dense(5)], {"Own"}),
    "normalization": (lambda: [layers.Dense(7), layers.Normalization(), layers.Dense(5)], {"Affine"}),
    "normalization, inverted": (
        lambda: [layers.Dense(7), layers.Normalization(None, 0.3, 2.0, invert=True), layers.Dense(5)],
        {"Affine"},
    ),
    "scaling of an axis": (
        lambda: [
            *(layers.Dense(24), layers.Reshape((2, 3, -1)), layers.MinMaxScaling((-1, 2), axis=2)),
            *(layers.Normalization(axis=(1, 2)), layers.Flatten(), layers.Dense(5)),
        ],
        {"Affine", "Reshape"},
    ),
    "moved images": (
        lambda: [
            *(layers.Dense(24), layers.Reshape((4, 3, 2)), layers.RandomFlip("horizontal")),
            *(layers.RandomRotation(0.1), layers.RandomZoom(0.3, (-0.2, 0.4), "constant", fill_value=0.3)),
            *(layers.Flatten(), layers.Dense(5)),
        ],
        {"Motion", "Reshape"},
    ),
    "moved images without channels": (
        lambda: [
            *(layers.Dense(24), layers.Reshape((4, 6)), layers.RandomTranslation(0.3, 0.2, "wrap")),
            *(layers.Flatten(), layers.Dense(5)),
        ],
        {"Motion"},
    ),
    "mixup first": (lambda: [layers.MixUp(1.0), layers.Dense(7), layers.ReLU(), layers.Dense(5)], {"MixUp"}),
    "mixup of hidden layers": (
        lambda: [layers.Dense(7), layers.BatchNormalization(), layers.MixUp(0.7), layers.Dense(5)],
        {"MixUp"},
    ),
    "whitening": (lambda: [layers.Dense(7), layers.Whitening(n_components=5), layers.Dense(5)], {"Affine"}),
    "penalties": (
        lambda: [
            layers.Dense(37, "relu", kernel_regularizer="l1_l2", bias_regularizer="l2", activity_regularizer="l1_l2"),
            layers.BatchNormalization(gamma_regularizer="l2", beta_regularizer="l1"),
            layers.PReLU(alpha_regularizer="l1"),
            layers.Dense(5, activity_regularizer="l2", kernel_regularizer=lambda w: (np.sum(w**3), 3 * w**2)),
        ],
        {"Penalty"},
    ),
    "dense over the last axis": (
        lambda: [
            *(layers.Dense(24), layers.Reshape((2, 2, 6)), layers.Dense(37, "relu"), layers.Dense(3, use_bias=False)),
            *(layers.Dense(4, "softmax"), layers.Dense(3, "log_softmax"), layers.Flatten(), layers.Dense(5)),
        ],
        {"Dense", "Reshape", "Softmax", "LogSoftmax"},
    ),
    "dense over a last axis of many": (
        lambda: [
            *(layers.Dense(6), layers.RepeatVector(3), layers.Dense(130, "relu"), layers.Dense(70, "tanh")),
            *(layers.EnsembleDense(33), layers.GlobalAveragePooling1D(), layers.Dense(5)),
        ],
        {"Dense", "RepeatMembers", "MemberDense", "MeanMembers"},
    ),
    "ensemble": (
        lambda: [
            *(layers.RepeatVector(4), layers.EnsembleScale(), layers.Dense(17, "relu"), layers.Dropout(0.2)),
            *(layers.Dense(18, activity_regularizer="l2"), layers.EnsembleDense(5), layers.GlobalAveragePooling1D()),
        ],
        {"RepeatMembers", "MemberScale", "MemberDense", "MeanMembers"},
    ),
    "ensemble of hidden layers": (
        lambda: [
            *(layers.Dense(7), layers.RepeatVector(3), layers.EnsembleScale(scale_regularizer="l2")),
            *(layers.EnsembleDense(9, "tanh", kernel_regularizer="l2"), layers.EnsembleDense(2, use_bias=False)),
            *(layers.GlobalAveragePooling1D(), layers.Dense(5)),
        ],
        {"MemberScale", "MemberDense"},
    ),
    "penalty on the input": (lambda: [layers.ActivityRegularization(0.1, 0.2), layers.Dense(5)], {"Penalty"}),
    "deep": (
        lambda: (
            [
                layer
                for width in (33, 20, 16)
                for layer in (layers.Dense(width), layers.BatchNormalization(), layers.Activation("tanh"))
            ]
            + [layers.Dense(5)]
        ),
        {"Dense", "BatchNorm", "Activation"},
    ),
}
nets = pytest.mark.parametrize("name", NETS)


def test_every_op_is_complete_and_exercised_here() -> None:
    exercised = set().union(*(ops for _, ops in NETS.values()))
    for name, op in Op.registry.items():
        for part in ("forward", "backward", "onnx"):
            assert getattr(op, part) is not getattr(Op, part), f"{name} has no {part}"
        assert name in exercised, f"{name} stands in no net of this table"


def make(name: str, batch: int, rate: float) -> tuple[fastdl.Sequential, Array, Array]:
    rng = np.random.default_rng(3)
    fastdl.utils.set_random_seed(7)
    x, y = rng.standard_normal((batch, 11)), rng.standard_normal((batch, 5))
    stack = NETS[name][0]()
    model = fastdl.Sequential([fastdl.Input((11,)), *stack], dtype="float64")
    if model.output_shape != (None, 5):
        model.add(layers.Dense(5))
    for parameter in model.weights:  # away from zero and one, where mistakes hide
        jitter = rng.standard_normal(parameter.shape) * 0.1
        parameter.assign(parameter.value + np.abs(jitter) if "variance" in parameter.name else parameter.value + jitter)
    model.compile(fastdl.optimizers.SGD(rate), loss="mse")
    return model, x, y


@nets
@pytest.mark.parametrize("batch", [1, 5, 33, pytest.param(1030, marks=pytest.mark.slow)])
def test_gradients_equal_finite_differences(name: str, batch: int) -> None:
    model, x, y = make(name, batch, 1.0)
    before = model.get_weights()
    model.train_on_batch(x, y)
    still, _, _ = make(name, batch, 0.0)  # its loss is that of the weights it is given: a step moves none
    assert still.optimizer is not None

    def loss(weights: list[Array]) -> float:
        still.set_weights(weights)
        still.optimizer.iterations = 0  # noise as in the first step
        return float(still.train_on_batch(x, y))

    rng, step = np.random.default_rng(0), 1e-6
    for i, parameter in enumerate(model.weights):
        gradient = before[i] - parameter.value
        if not parameter.trainable:
            continue
        for at in {tuple(rng.integers(0, parameter.shape)) for _ in range(4)}:
            losses = []
            for sign in (1, -1):
                moved = [weight.copy() for weight in before]
                moved[i][at] += sign * step
                losses.append(loss(moved))
            slope = (losses[0] - losses[1]) / (2 * step)
            assert gradient[at] == pytest.approx(slope, rel=2e-6, abs=2e-8), f"{parameter.path}{at}"


def test_frozen_layers_do_not_move() -> None:
    model = fastdl.Sequential([fastdl.Input((4,)), layers.Dense(6), layers.BatchNormalization(), layers.Dense(2)])
    model.layers[0].trainable = model.layers[1].trainable = False
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(np.random.default_rng(0).standard_normal((40, 4)), np.ones((40, 2)), verbose=0)
    moved = [not np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True)]
    assert moved == [False] * 6 + [True, True]


def test_shape_rules_refuse() -> None:
    x = Tensor((None, 6), np.dtype(np.float32))
    dense = layers.Dense(3)
    dense(x)
    with pytest.raises(ShapeError, match="does not fit"):
        ops.Dense(Tensor((None, 7), np.dtype(np.float32)), dense.kernel)
    with pytest.raises(ShapeError, match="numbers a sample"):
        ops.Reshape(x, (4,))


def test_graph_orders_a_net_deeper_than_pythons_stack() -> None:
    source = x = Tensor((None, 2), np.dtype(np.float32))
    for _ in range(5000):
        x = activations.relu(x)
    graph = Graph([source], [x])
    assert len(graph.ops) == 5000
    assert graph.ops[-1].output is x
