"""What is compared: one row a configuration, and the same numbers for everyone who runs it.

A new row is one line in `ROWS`; a new net one entry in `NETS`; a new optimizer one in `OPTIMIZERS`.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Dtype = Literal["float32", "float64"]

STEPS, BATCH, FEATURES, TRAIN_ROWS, NEW_ROWS = 100, 32, 20, 640, 64

# Of each loss: the feature table's. Of weights, predictions and evaluations after 100 steps, against the
# largest of the array. Keras alone takes up to 4e-6 of the first and 6e-6 of the second with Adam in
# float32, for it computes 1 - beta_2^t in float32; PyTorch computes that in double.
LOSS_RTOL = {"float32": 1e-5, "float64": 1e-10}
AFTER_RTOL = {"float32": 3e-5, "float64": 1e-10}


@dataclass(frozen=True)
class Dense:
    units: int
    activation: str = "linear"
    use_bias: bool = True


@dataclass(frozen=True)
class BatchNorm:
    """Keras's defaults: momentum 0.99, epsilon 1e-3."""


@dataclass(frozen=True)
class Act:
    name: str


@dataclass(frozen=True)
class Other:
    """A layer by Keras's name, with options."""

    name: str
    options: tuple[tuple[str, float], ...] = ()


Layer = Dense | BatchNorm | Act | Other


@dataclass(frozen=True)
class Net:
    """`loss` is Keras's name; the last layer's activation belongs to the loss unless `from_logits`."""

    layers: tuple[Layer, ...]
    loss: str
    target: Literal["class", "one-hot", "bits", "real"]
    from_logits: bool = False
    noisy_bias: bool = False  # a bias cancelled by batch norm: its gradient is rounding, which Adam blows up

    @property
    def outputs(self) -> int:
        last = self.layers[-1]
        assert isinstance(last, Dense)
        return last.units


@dataclass(frozen=True)
class Row:
    net_name: str
    optimizer_name: str

    def __str__(self) -> str:
        return f"{self.net_name}-{self.optimizer_name}"

    @property
    def net(self) -> Net:
        return NETS[self.net_name]

    @property
    def optimizer(self) -> tuple[str, dict[str, float | bool]]:
        return OPTIMIZERS[self.optimizer_name]


BN = BatchNorm()
SOFTMAX5, LOGITS5 = Dense(5, "softmax"), Dense(5)
SPARSE, CATEGORICAL, BINARY = (
    "sparse_categorical_crossentropy",
    "categorical_crossentropy",
    "binary_crossentropy",
)


def free(units: int) -> Dense:
    """A layer whose bias the batch norm after it would cancel."""
    return Dense(units, use_bias=False)


NETS = {
    "softmax": Net((Dense(32, "relu"), Dense(24, "relu"), SOFTMAX5), SPARSE, "class"),
    "logits": Net((Dense(32, "relu"), Dense(24, "relu"), LOGITS5), SPARSE, "class", from_logits=True),
    "one-hot": Net((Dense(32, "tanh"), Dense(24, "relu"), SOFTMAX5), CATEGORICAL, "one-hot"),
    "one-hot-logits": Net((Dense(32, "tanh"), LOGITS5), CATEGORICAL, "one-hot", from_logits=True),
    "bn-before": Net((free(32), BN, Act("relu"), free(24), BN, Act("relu"), SOFTMAX5), SPARSE, "class"),
    "bn-after": Net((Dense(32, "relu"), BN, Dense(24, "relu"), BN, SOFTMAX5), SPARSE, "class"),
    "bn-first": Net((BN, Dense(32, "relu"), BN, Dense(24, "relu"), BN, SOFTMAX5), SPARSE, "class"),
    "bn-biased": Net((Dense(32), BN, Act("tanh"), SOFTMAX5), SPARSE, "class", noisy_bias=True),
    "sigmoid-bce": Net((Dense(32, "sigmoid"), Dense(24, "sigmoid"), Dense(1, "sigmoid")), BINARY, "bits"),
    "tanh-bce": Net((Dense(32, "tanh"), Dense(24, "tanh"), Dense(3, "sigmoid")), BINARY, "bits"),
    "bce-logits": Net((Dense(32, "tanh"), BN, Dense(3)), BINARY, "bits", from_logits=True),
    "mse": Net((Dense(32, "relu"), Dense(24, "relu"), Dense(1)), "mse", "real"),
    "bn-mse": Net((BN, Dense(32, "tanh"), Dense(3)), "mse", "real"),
    "linear": Net((Dense(1),), "mse", "real"),
    # widths, like the batch's last one, that are no multiple of any vector
    "odd": Net((Dense(37, "relu"), BN, Dense(13, "relu"), SOFTMAX5), SPARSE, "class"),
}

ACTIVATIONS = (
    *("leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus", "softsign"),
    *("hard_sigmoid", "hard_silu", "swish"),
)
CALM = ("relu6", "exponential", "log_softmax")  # which two layers of turn into chaos
OTHERS = {
    "relu-options": Other("ReLU", (("max_value", 1.5), ("negative_slope", 0.1), ("threshold", 0.2))),
    "leaky-relu": Other("LeakyReLU"),
    "elu-alpha": Other("ELU", (("alpha", 0.7),)),
    "prelu": Other("PReLU"),
    "layer-norm": Other("LayerNormalization"),
    "rescaling": Other("Rescaling", (("scale", 0.7), ("offset", 0.2))),
}
NETS |= {name: Net((Dense(32, name), Dense(16), Act(name), SOFTMAX5), SPARSE, "class") for name in ACTIVATIONS}
NETS |= {name: Net((Dense(24, "tanh"), Dense(8, name), SOFTMAX5), SPARSE, "class") for name in CALM}
NETS |= {name: Net((Dense(32), other, Dense(24, "tanh"), SOFTMAX5), SPARSE, "class") for name, other in OTHERS.items()}

OPTIMIZERS: dict[str, tuple[str, dict[str, float | bool]]] = {
    "sgd": ("SGD", {"learning_rate": 0.05}),
    "momentum": ("SGD", {"learning_rate": 0.02, "momentum": 0.9}),
    "nesterov": ("SGD", {"learning_rate": 0.02, "momentum": 0.9, "nesterov": True}),
    "adam": ("Adam", {"learning_rate": 1e-3}),
    "adam-eps": ("Adam", {"learning_rate": 3e-3, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3}),
}

ROWS = [
    *(Row(net, optimizer) for net in ("softmax", "bn-before") for optimizer in OPTIMIZERS),
    Row("logits", "sgd"),
    Row("logits", "adam"),
    Row("one-hot", "momentum"),
    Row("one-hot", "adam"),
    Row("one-hot-logits", "adam"),
    Row("bn-after", "nesterov"),
    Row("bn-after", "adam"),
    Row("bn-first", "momentum"),
    Row("bn-first", "adam"),
    Row("bn-biased", "sgd"),
    Row("bn-biased", "adam"),
    Row("sigmoid-bce", "momentum"),
    Row("sigmoid-bce", "adam"),
    Row("tanh-bce", "nesterov"),
    Row("tanh-bce", "adam"),
    Row("bce-logits", "adam"),
    Row("mse", "nesterov"),
    Row("mse", "adam-eps"),
    Row("bn-mse", "adam-eps"),
    Row("linear", "sgd"),
    Row("linear", "adam"),
    Row("odd", "nesterov"),
    Row("odd", "adam"),
    *(Row(name, "sgd") for name in (*ACTIVATIONS, *CALM, *OTHERS)),
    Row("gelu", "adam"),
    Row("selu", "adam"),
    Row("prelu", "adam"),
    Row("layer-norm", "adam"),
]


@dataclass(frozen=True)
class Numbers:
    """The weights to start from, in Keras's order, the batches to take, and rows that are not trained on."""

    weights: list[Array]
    batches: list[tuple[Array, Array]]
    x_new: Array
    y_new: Array


def numbers(net: Net, dtype: Dtype) -> Numbers:
    """The same for each optimizer and, but for rounding, for each dtype. Each 20th batch is shorter."""
    rng = np.random.default_rng(20)
    weights = [array.astype(dtype) for array in initial_weights(net, FEATURES, rng)]
    x, y = _data(net, TRAIN_ROWS + NEW_ROWS, rng)
    x, y = x.astype(dtype), y.astype(np.int64 if net.target == "class" else dtype)
    sizes = [19 if step % 20 == 19 else BATCH for step in range(STEPS)]
    chosen = [rng.choice(TRAIN_ROWS, size, replace=False) for size in sizes]
    return Numbers(weights, [(x[rows], y[rows]) for rows in chosen], x[TRAIN_ROWS:], y[TRAIN_ROWS:])


def initial_weights(net: Net, features: int, rng: np.random.Generator) -> list[Array]:
    """Glorot kernels; biases, gammas and betas off their usual start, so that none can be forgotten."""
    arrays: list[Array] = []
    width = features
    for layer in net.layers:
        if isinstance(layer, Dense):
            limit = np.sqrt(6 / (width + layer.units))
            arrays.append(rng.uniform(-limit, limit, (width, layer.units)))
            if layer.use_bias:
                arrays.append(rng.normal(0, 0.1, layer.units))
            width = layer.units
        elif isinstance(layer, BatchNorm):
            arrays += [
                rng.uniform(0.7, 1.3, width),
                rng.normal(0, 0.2, width),
                np.zeros(width),
                np.ones(width),
            ]
        elif layer == Other("PReLU"):
            arrays.append(rng.uniform(0.1, 0.4, width))
        elif layer == Other("LayerNormalization"):
            arrays += [rng.uniform(0.7, 1.3, width), rng.normal(0, 0.2, width)]
    return arrays


def _data(net: Net, rows: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Features of unequal scale and mean, for batch norm; targets with noise, so that no loss nears 0."""
    scale, mean = np.linspace(0.4, 1.6, FEATURES), np.linspace(0.5, -0.5, FEATURES)
    x = rng.normal(0, 1, (rows, FEATURES)) * scale + mean
    score = x @ rng.normal(0, FEATURES**-0.5, (FEATURES, net.outputs))
    score += rng.normal(0, 0.5, score.shape)
    if net.target == "real":
        return x, np.tanh(score)
    if net.target == "bits":
        return x, score > 0
    classes = score.argmax(1)
    return x, np.eye(net.outputs)[classes] if net.target == "one-hot" else classes
