"""Unsupervised pretraining: restricted Boltzmann machines, autoencoders layer by layer, masked features.

Each gives layers with weights that a classifier begins with: `Sequential([*layers, Dense(10, "softmax")])`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastdl import kernels
from fastdl.base import random
from fastdl.base.arrays import Array, Dtype
from fastdl.base.configured import described
from fastdl.compiler.graph import Tensor
from fastdl.errors import DataError, DivergenceWarning, ShapeError, warn
from fastdl.layers import Dense, DenseTranspose, Dropout, Input
from fastdl.models import Sequential
from fastdl.models.data import as_dtype, check_finite, numbers
from fastdl.models.functional import Functional

LOWER = "lower the learning rate, or scale x"


def _rows(x: Any, dtype: Dtype, features: int | None = None) -> Array:
    """(rows, features) of the dtype. DataError, ShapeError."""
    array = numbers("x", x)
    if array.ndim != 2 or (features is not None and array.shape[1] != features):
        raise ShapeError(f"x has shape {array.shape}, not (rows, {features or 'features'})")
    check_finite("x", array)
    return np.ascontiguousarray(as_dtype("x", array, dtype))


def _sigmoid(x: Array) -> Array:
    """In place."""
    with np.errstate(over="ignore"):  # exp of a large number is infinite, and its inverse 0
        np.negative(x, out=x)
        np.exp(x, out=x)
    x += 1
    return np.divide(1, x, out=x)


class RBM:
    """A restricted Boltzmann machine (Smolensky 1986), trained by contrastive divergence, CD-k (Hinton 2002).

    hidden: the number of its binary hidden units. visible: "bernoulli" for x in [0, 1], or "gaussian" for features of
    mean 0 and variance 1. k: Gibbs steps from the data to the sample. persistent: chains go on from batch to batch
    instead (Tieleman 2008; what scikit-learn's BernoulliRBM does). momentum, weight_decay: of the kernel's updates.

    After fit: kernel (visible, hidden), hidden_bias, visible_bias. A step alternates sampling with matrix products, so
    it is no program: the products are the compiled kernel, the rest a dozen calls of numpy a batch.
    """

    def __init__(
        self,
        hidden: int,
        visible: str = "bernoulli",
        *,
        k: int = 1,
        learning_rate: float = 0.05,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        persistent: bool = False,
        dtype: Any = "float32",
    ) -> None:
        if hidden < 1 or k < 1:
            raise ValueError(f"hidden and k must be positive, not {hidden} and {k}")
        if visible not in ("bernoulli", "gaussian"):
            raise ValueError(f"visible must be 'bernoulli' or 'gaussian', not {visible!r}")
        if not learning_rate > 0 or not 0 <= momentum < 1 or weight_decay < 0:
            raise ValueError(
                "learning_rate must be positive, momentum lie in [0, 1) and weight_decay not be negative, not "
                f"{learning_rate}, {momentum} and {weight_decay}"
            )
        self.hidden, self.visible, self.k, self.persistent = int(hidden), visible, int(k), bool(persistent)
        self.learning_rate, self.momentum, self.weight_decay = (
            float(learning_rate),
            float(momentum),
            float(weight_decay),
        )
        self.dtype = np.dtype(dtype)
        self.kernel: Array | None = None
        self._chain: Array | None = None  # the hidden samples of persistent chains

    def __repr__(self) -> str:
        return described(self)

    def fit(self, x: Any, epochs: int = 10, batch_size: int = 32, verbose: int = 0) -> list[float]:
        """Train, or train on; each epoch's mean squared error of reconstruction. x: (rows, features).

        DataError for values outside [0, 1] with Bernoulli units, ShapeError.
        """
        if epochs < 1 or batch_size < 1:
            raise ValueError(f"epochs and batch_size must be positive, not {epochs} and {batch_size}")
        rows = _rows(x, self.dtype, None if self.kernel is None else len(self.kernel))
        if self.visible == "bernoulli" and (rows.min() < 0 or rows.max() > 1):
            raise DataError(f"x lies in [{rows.min():.4g}, {rows.max():.4g}]: Bernoulli units need [0, 1]")
        draw = np.random.default_rng(random.draw_seed())
        if self.kernel is None:
            self._begin(rows.shape[1], draw)
        errors = []
        for epoch in range(epochs):
            order, total = draw.permutation(len(rows)), 0.0
            for begin in range(0, len(rows), batch_size):
                with np.errstate(over="ignore", invalid="ignore"):  # it is told once, below
                    total += self._step(rows[order[begin : begin + batch_size]], draw)
            errors.append(total / rows.size)
            if not math.isfinite(total) and all(map(math.isfinite, errors[:-1])):
                warn(
                    f"training of the RBM diverged: error became {total} in epoch {epoch + 1}; {LOWER}",
                    DivergenceWarning,
                )
            if verbose:
                print(f"Epoch {epoch + 1}/{epochs} - reconstruction: {errors[-1]:.4f}", flush=True)
        return errors

    def _begin(self, features: int, draw: np.random.Generator) -> None:
        """Small weights (Hinton 2010)."""
        self.kernel = (0.01 * draw.standard_normal((features, self.hidden))).astype(self.dtype)
        self.hidden_bias, self.visible_bias = np.zeros(self.hidden, self.dtype), np.zeros(features, self.dtype)
        self._velocity = np.zeros_like(self.kernel)

    def _step(self, v: Array, draw: np.random.Generator) -> float:
        """One update from a batch; the squared error of its reconstruction."""
        assert self.kernel is not None
        positive = self._hidden(v)
        if self.persistent and self._chain is not None and len(self._chain) == len(v):
            h = self._chain
        else:
            h = self._drawn(positive, draw)
        for _ in range(self.k):
            mean = self._visible(h)
            sample = self._drawn(mean, draw) if self.visible == "bernoulli" else mean + self._normal(mean.shape, draw)
            negative = self._hidden(sample)
            h = self._drawn(negative, draw)
        if self.persistent:
            self._chain, mean = h, self._visible(positive)
        rate = self.learning_rate / len(v)
        step = kernels.matmul(v, positive, transpose_a=True) - kernels.matmul(sample, negative, transpose_a=True)
        step -= len(v) * self.weight_decay * self.kernel
        self._velocity *= self.momentum
        self._velocity += self.dtype.type(rate) * step
        self.kernel += self._velocity
        self.hidden_bias += rate * (positive.sum(0) - negative.sum(0))
        self.visible_bias += rate * (v.sum(0) - sample.sum(0))
        return float(np.square(v - mean, dtype=np.float64).sum())

    def _hidden(self, v: Array) -> Array:
        """P(h = 1 | v)."""
        return _sigmoid(kernels.matmul(v, self._kernel()) + self.hidden_bias)

    def _visible(self, h: Array) -> Array:
        """The mean of v given h: a probability for Bernoulli units."""
        total = kernels.matmul(h, self._kernel(), transpose_b=True) + self.visible_bias
        return _sigmoid(total) if self.visible == "bernoulli" else total

    def _drawn(self, p: Array, draw: np.random.Generator) -> Array:
        return (draw.random(p.shape, np.float32) < p).astype(self.dtype)

    def _normal(self, shape: tuple[int, ...], draw: np.random.Generator) -> Array:
        return draw.standard_normal(shape, np.float32).astype(self.dtype)

    def _kernel(self) -> Array:
        if self.kernel is None:
            raise RuntimeError("this RBM is not trained yet: call fit first")
        return self.kernel

    def transform(self, x: Any) -> Array:
        """P(h = 1 | x): (rows, hidden)."""
        return self._hidden(_rows(x, self.dtype, len(self._kernel())))

    def reconstruct(self, x: Any) -> Array:
        """The mean of v, given the mean of h, given x: (rows, features)."""
        return self._visible(self.transform(x))

    def free_energy(self, x: Any) -> Array:
        """F of each row, (rows,) float64, where p(x) is proportional to exp(-F(x))."""
        rows = _rows(x, self.dtype, len(self._kernel())).astype(np.float64)
        hidden = np.logaddexp(0, rows @ self._kernel().astype(np.float64) + self.hidden_bias).sum(1)
        free: Array
        if self.visible == "gaussian":
            free = 0.5 * np.square(rows - self.visible_bias).sum(1) - hidden
            return free
        free = -(rows @ self.visible_bias.astype(np.float64)) - hidden
        return free

    def dense(self, activation: Any = "sigmoid", **options: Any) -> Dense:
        """A dense layer that begins with these weights: its output is `transform`, to be trained on."""
        return _dense(self._kernel(), self.hidden_bias, activation, **options)


def _dense(kernel: Array, bias: Array, activation: Any, **options: Any) -> Dense:
    layer = Dense(kernel.shape[1], activation, **options)
    layer(Tensor((None, kernel.shape[0]), kernel.dtype, name="input"))
    layer.set_weights([kernel, bias])
    return layer


def stack_rbms(
    x: Any, sizes: Sequence[int], *, visible: str = "bernoulli", epochs: int = 10, batch_size: int = 32, **options: Any
) -> list[RBM]:
    """RBMs of these sizes, each trained on what the one before makes of x (Hinton, Osindero and Teh 2006).

    visible: of the first. options: as RBM takes them. `[rbm.dense() for rbm in …]` are a classifier's first layers.
    """
    stack: list[RBM] = []
    for size in sizes:
        rbm = RBM(size, "bernoulli" if stack else visible, **options)
        rbm.fit(x, epochs, batch_size)
        x = rbm.transform(x)
        stack.append(rbm)
    return stack


def stack_autoencoders(
    x: Any,
    sizes: Sequence[int],
    activation: Any = "relu",
    *,
    noise: float = 0.0,
    tied: bool = True,
    epochs: int = 10,
    batch_size: int = 32,
    optimizer: Callable[[], Any] | str = "adam",
    loss: Any = "mse",
    verbose: int = 0,
) -> list[Dense]:
    """Dense layers, each trained to give back its input through a decoder (Bengio et al. 2007), the first on x.

    noise: the share of each input that is dropped while it is learnt: denoising autoencoders (Vincent et al. 2008).
    tied: the decoder's weights are the encoder's, transposed. optimizer: a name, or a function that makes one.
    """
    encoders: list[Dense] = []
    for size in sizes:
        x = _rows(x, np.dtype(np.float64) if numbers("x", x).dtype == np.float64 else np.dtype(np.float32))
        source = Input((x.shape[1],), dtype=x.dtype)
        encoder = Dense(size, activation)
        code = encoder(Dropout(noise)(source) if noise else source)
        decoder: Any = DenseTranspose(encoder) if tied else Dense(x.shape[1])
        model = Functional(source, decoder(code))
        model.compile(optimizer() if callable(optimizer) else optimizer, loss)
        model.fit(x, x, batch_size, epochs, verbose=verbose)
        x = Functional(source, encoder(source)).predict(x)
        encoders.append(encoder)
    return encoders


def pretrain_masked(
    encoder: Sequential,
    x: Any,
    *,
    share: float = 0.3,
    epochs: int = 10,
    batch_size: int = 32,
    optimizer: Any = "adam",
    verbose: int = 0,
) -> list[float]:
    """Train an encoder to fill in features that are hidden from it; each epoch's mean squared error.

    In each epoch a share of the numbers in x, others each time, is replaced by those of other rows, so that they look
    right but say nothing; a last dense layer, which is then thrown away, tells what they were (Yoon et al. 2020 call
    it VIME). encoder: layers whose output is (batch, features); its weights are trained in place. It ends early when
    training diverges.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1, not {share}")
    rows = _rows(x, encoder.dtype)
    source = Input((rows.shape[1],), dtype=encoder.dtype)
    model = Functional(source, Dense(rows.shape[1])(encoder(source)))
    model.compile(optimizer, "mse")
    draw = np.random.default_rng(random.draw_seed())
    losses = []
    for epoch in range(epochs):
        others = np.asarray(draw.integers(len(rows), size=rows.shape))
        hidden = draw.random(rows.shape) < share
        seen = np.where(hidden, np.take_along_axis(rows, others, 0), rows)
        losses += model.fit(seen, rows, batch_size, verbose=0).history["loss"]
        if not math.isfinite(losses[-1]):
            break  # fit has said that it diverged
        if verbose:
            print(f"Epoch {epoch + 1}/{epochs} - loss: {losses[-1]:.4f}", flush=True)
    return losses
