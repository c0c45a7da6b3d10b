"""The kernels of layers, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from fastdl import _ext, config
from fastdl.base.arrays import Array
from fastdl.compiler.memory import aligned, from_strips, to_strips
from fastdl.compiler.phases import Arguments
from fastdl.errors import ShapeError
from fastdl.kernels.call import KernelCall, checked, elementwise


def bias(x: ArrayLike, b: ArrayLike) -> Array:
    """x (batch, features) + b (features,): the dense kernel's epilogue, through a product with the identity."""
    x = checked("x", x, 2)
    return dense(x, np.eye(x.shape[1], dtype=x.dtype), b)


def dense(x: ArrayLike, w: ArrayLike, b: ArrayLike | None = None, relu: bool = False, bfloat16: bool = False) -> Array:
    """x (batch, in) @ w (in, out) + b (out,), then max(·, 0) if `relu` → (batch, out). ShapeError.

    bfloat16: products of x and w, float32, are of both rounded to bfloat16; sums are float32. ValueError where the CPU
    has no such products (see config.round_to_bfloat16).
    """
    x = checked("x", x, 2)
    w = checked("w", w, 2, x.dtype)
    if x.shape[1] != w.shape[0]:
        raise ShapeError(f"x has {x.shape[1]} features, w takes {w.shape[0]}")
    call = KernelCall(len(x), x.dtype)
    panel, storage, (inputs, outputs) = call.rows(x), to_strips(w), w.shape
    offset = None if b is None else call.vector(checked("b", b, 1, x.dtype), outputs)
    out = call.panel(outputs)
    kind = _ext.RELU if relu else _ext.LINEAR
    sizes: Arguments = {"inputs": inputs, "outputs": outputs, "act": kind, "block": 128, "middle": inputs}
    if bfloat16:
        pairs, _, products = _rounded(call, panel)
        sizes |= {"pairs": pairs, "products": products}
    call.run("dense_forward", outputs, x=panel, w=storage, b=offset, y=out, **sizes)
    return call.back(out)


def dense_backward(x: ArrayLike, w: ArrayLike, dy: ArrayLike, bfloat16: bool = False) -> tuple[Array, Array, Array]:
    """dx (batch, in), dw (in, out), db (out,) of x (batch, in) @ w (in, out) + b, from dy (batch, out).

    bfloat16: as for `dense`, of dy too; db is the sum of dy as it is.
    """
    x = checked("x", x, 2)
    w, dy = checked("w", w, 2, x.dtype), checked("dy", dy, 2, x.dtype)
    if dy.shape != (len(x), w.shape[1]) or x.shape[1] != w.shape[0]:
        raise ShapeError(f"x {x.shape}, w {w.shape} and dy {dy.shape} do not belong together")
    call = KernelCall(len(x), x.dtype)
    panel, storage, gradient = call.rows(x), to_strips(w), call.rows(dy)
    inputs, outputs = w.shape
    dx, dw, db = call.panel(inputs), aligned(storage.shape, x.dtype), call.vector(None, outputs)
    sizes: Arguments = {"inputs": inputs, "outputs": outputs}
    pairs = None
    if bfloat16:
        pairs, _, sizes["products"] = _rounded(call, gradient)
        _, panel, _ = _rounded(call, panel)
    call.run("dense_input_grad", inputs, dy=gradient, pairs=pairs, w=storage, dx=dx, **sizes)
    call.run("dense_weight_grad", outputs, x=panel, dy=gradient, dw=dw, db=db, dw_stride=0, db_stride=0, **sizes)
    return call.back(dx), from_strips(dw, outputs), db[:outputs].copy()


def _rounded(call: KernelCall, panel: Array) -> tuple[Array, Array, int]:
    """A panel in bfloat16, two features in a word, and two samples in a word; and how words are multiplied."""
    if panel.dtype != np.float32:
        raise ValueError(f"bfloat16 is a rounding of float32, not of {panel.dtype}")
    features, products = panel.shape[1], config.bfloat16_products()
    pairs, rows = call.panel(-(-features // 2)), aligned((call.panels, features, _ext.PANEL // 2), panel.dtype)
    call.run("round_panels", features, x=panel, pairs=pairs, rows=rows, features=features, products=products)
    return pairs, rows, products


def activation(name: str, x: ArrayLike, *scalars: float) -> Array:
    """y of a row of the kernel table (`_ext.ACTIVATIONS`) with its scalars. x: (batch, features)."""
    return elementwise("activation_forward", {"x": x}, **_activation(name, scalars))


def activation_backward(name: str, saved: ArrayLike, dy: ArrayLike, *scalars: float) -> Array:
    """dx from dy and what the row reads: the input x, or the output y. All (batch, features)."""
    return elementwise("activation_backward", {"saved": saved, "dy": dy}, **_activation(name, scalars))


def _activation(name: str, scalars: Sequence[float]) -> Arguments:
    own = [*scalars, *[0.0] * (_ext.ACTIVATION_SCALARS - len(scalars))]
    return {"activation": _ext.ACTIVATIONS[name][0], "own": own}


def relu(x: ArrayLike) -> Array:
    """max(x, 0), NaN kept. x: (batch, features)."""
    return activation("relu", x)


def sigmoid(x: ArrayLike) -> Array:
    """1 / (1 + exp(-x)). x: (batch, features)."""
    return activation("sigmoid", x)


def tanh(x: ArrayLike) -> Array:
    """Hyperbolic tangent. x: (batch, features)."""
    return activation("tanh", x)


def softmax(x: ArrayLike) -> Array:
    """exp(x) / sum of exp(x) over the features. x: (batch, features)."""
    return elementwise("softmax_forward", {"x": x})


def softmax_backward(y: ArrayLike, dy: ArrayLike) -> Array:
    """dx from the output y and its gradient dy, all (batch, features)."""
    return elementwise("softmax_backward", {"y": y, "dy": dy})


def log_softmax(x: ArrayLike) -> Array:
    """log(softmax(x)) over the features. x: (batch, features)."""
    return elementwise("log_softmax_forward", {"x": x})


def log_softmax_backward(y: ArrayLike, dy: ArrayLike) -> Array:
    """dx from the output y and its gradient dy, all (batch, features)."""
    return elementwise("log_softmax_backward", {"y": y, "dy": dy})


def dropout(x: ArrayLike, rate: float, seed: int = 0, step: int = 0) -> tuple[Array, Array]:
    """x times a mask of 0 and 1 / (1 - rate), and the mask; (batch, features) both."""
    x = checked("x", x, 2)
    call = KernelCall(len(x), x.dtype)
    features = x.shape[1]
    out, mask = call.panel(features), call.panel(features)
    numbers: Arguments = {"features": features, "stream": 0, "rate": rate, "seed": seed, "step": step}
    call.run("dropout_forward", features, x=call.rows(x), y=out, mask=mask, **numbers)
    return call.back(out), call.back(mask)


def noise(kind: str, x: ArrayLike, *scalars: float, seed: int = 0, step: int = 0) -> Array:
    """x with noise of a row of the kernel table (`_ext.NOISES`) with its scalars. x: (batch, features)."""
    x = checked("x", x, 2)
    call, features = KernelCall(len(x), x.dtype), x.shape[1]
    out, settings = call.panel(features), (*scalars, *[0.0] * (_ext.NOISE_SCALARS - len(scalars)))
    numbers: Arguments = {"features": features, "noise": _ext.NOISES[kind][0], "stream": 0, "own": settings}
    call.run("noise_forward", features, x=call.rows(x), y=out, **numbers, seed=seed, step=step)
    return call.back(out)


def motion(
    kind: str,
    x: ArrayLike,
    *scalars: float,
    fill: str = "reflect",
    fill_value: float = 0.0,
    nearest: bool = False,
    seed: int = 0,
    step: int = 0,
) -> Array:
    """Images moved at random by a row of the kernel table (`_ext.MOTIONS`). x: (batch, height, width, channels)."""
    call, rows, out, settings = _motion(kind, x, scalars, fill, nearest, fill_value)
    call.run("motion_forward", rows.shape[1], x=rows, y=out, **settings, seed=seed, step=step)
    return call.back(out).reshape(np.shape(x))


def motion_backward(
    kind: str, dy: ArrayLike, *scalars: float, fill: str = "reflect", seed: int = 0, step: int = 0
) -> Array:
    """dx of `motion`, from dy; (batch, height, width, channels) both."""
    call, rows, out, settings = _motion(kind, dy, scalars, fill)
    call.run("motion_backward", rows.shape[1], dy=rows, dx=out, **settings, seed=seed, step=step)
    return call.back(out).reshape(np.shape(dy))


def _motion(
    kind: str, x: ArrayLike, scalars: Sequence[float], fill: str, nearest: bool = False, fill_value: float = 0.0
) -> tuple[KernelCall, Array, Array, Arguments]:
    """The images and room for others, in panels, and the motion's numbers by the names of the kernel table."""
    x = checked("x", x, 4)
    call, rows = KernelCall(len(x), x.dtype), x.reshape(len(x), -1)
    settings: Arguments = dict(zip(("height", "width", "channels"), x.shape[1:], strict=True))
    settings |= {"motion": _ext.MOTIONS[kind], "fill": _ext.FILLS[fill], "nearest": int(nearest), "stream": 0}
    own = (*scalars, *[0.0] * (4 - len(scalars)))
    return call, call.rows(rows), call.panel(rows.shape[1]), {**settings, "own": own, "fill_value": fill_value}


def mix(x: ArrayLike, alpha: float, back: bool = False, seed: int = 0, step: int = 0) -> tuple[Array, Array]:
    """Each row w of itself and 1 - w of another one, and w (batch,) from Beta(alpha, alpha). x: (batch, features).

    back: x is the gradient of what was mixed, the result that of what it was mixed of.
    """
    x = checked("x", x, 2)
    call, features = KernelCall(len(x), x.dtype), x.shape[1]
    weights, out = call.panel(1), call.panel(features)
    drawn: Arguments = {"stream": 0, "seed": seed, "step": step}
    call.run("mix_weights", 1, weight=weights, alpha=alpha, **drawn)
    call.run("mix", features, x=call.rows(x), y=out, weight=weights, features=features, back=int(back), **drawn)
    return call.back(out), call.back(weights)[:, 0]


def prelu(x: ArrayLike, alpha: ArrayLike) -> Array:
    """x, below 0 alpha x. x: (batch, features); alpha: (features,)."""
    x = checked("x", x, 2)
    call, features = KernelCall(len(x), x.dtype), x.shape[1]
    out = call.panel(features)
    call.run("prelu_forward", features, x=call.rows(x), alpha=call.vector(alpha, features), y=out, features=features)
    return call.back(out)


def prelu_backward(x: ArrayLike, dy: ArrayLike, alpha: ArrayLike) -> tuple[Array, Array]:
    """dx (batch, features) and dalpha (features,) of `prelu`, from dy (batch, features)."""
    x = checked("x", x, 2)
    call, features = KernelCall(len(x), x.dtype), x.shape[1]
    dx, slopes = call.panel(features), call.vector(None, features)
    gradient, slope = call.rows(checked("dy", dy, 2, x.dtype)), call.vector(alpha, features)
    arrays: Arguments = {"x": call.rows(x), "dy": gradient, "alpha": slope, "dx": dx, "dalpha": slopes}
    call.run("prelu_backward", features, **arrays, features=features)
    return call.back(dx), slopes[:features].copy()


def layer_norm(x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, epsilon: float = 1e-3) -> Array:
    """(x - mean) / sqrt(variance + epsilon) gamma + beta of each row. x: (batch, features), the rest (features,)."""
    return _layer_norm(x, gamma, beta, epsilon)[0]


def layer_norm_backward(
    x: ArrayLike, dy: ArrayLike, gamma: ArrayLike, epsilon: float = 1e-3
) -> tuple[Array, Array, Array]:
    """dx (batch, features), dgamma, dbeta (features,) of `layer_norm`, from dy (batch, features)."""
    _, call, rows, mean, inverse = _layer_norm(x, gamma, None, epsilon)
    features = rows.shape[1]
    gradient, scale = call.rows(checked("dy", dy, 2, call.dtype)), call.vector(gamma, features)
    dx, dgamma, dbeta = call.panel(features), call.vector(None, features), call.vector(None, features)
    arguments: Arguments = {"x": rows, "dy": gradient, "mean": mean, "inv": inverse, "features": features}
    call.run("layer_norm_backward", features, **arguments, gamma=scale, dx=dx)
    call.run("layer_norm_weight_grad", features, **arguments, dgamma=dgamma, dbeta=dbeta)
    return call.back(dx), dgamma[:features].copy(), dbeta[:features].copy()


def _layer_norm(
    x: ArrayLike, gamma: ArrayLike, beta: ArrayLike | None, epsilon: float
) -> tuple[Array, KernelCall, Array, Array, Array]:
    """y, and what the gradient needs: x, mean and 1 / sqrt(variance + epsilon), in panels."""
    x = checked("x", x, 2)
    call, features = KernelCall(len(x), x.dtype), x.shape[1]
    rows, out, mean, inverse = call.rows(x), call.panel(features), call.panel(1), call.panel(1)
    arguments: Arguments = {"x": rows, "gamma": call.vector(gamma, features), "beta": call.vector(beta, features)}
    call.run(
        "layer_norm_forward", features, **arguments, y=out, mean=mean, inv=inverse, features=features, epsilon=epsilon
    )
    return call.back(out), call, rows, mean, inverse


def batch_norm(
    x: ArrayLike,
    gamma: ArrayLike,
    beta: ArrayLike,
    moving_mean: Array,
    moving_variance: Array,
    momentum: float = 0.99,
    epsilon: float = 1e-3,
) -> tuple[Array, Array, Array]:
    """Training's forward: y (batch, features), mean and 1 / sqrt(variance + epsilon) (features,).

    moving_mean, moving_variance: (features,), of x's dtype, updated in place.
    """
    x = checked("x", x, 2)
    call, features = KernelCall(len(x), x.dtype), x.shape[1]
    affine = {"gamma": gamma, "beta": beta}
    vectors: Arguments = {
        name: call.vector(checked(name, value, 1, x.dtype), features) for name, value in affine.items()
    }
    means, variances = call.vector(moving_mean, features), call.vector(moving_variance, features)
    mean, inverse, out = call.vector(None, features), call.vector(None, features), call.panel(features)
    call.run(
        "batch_norm_train",
        features,
        x=call.rows(x),
        y=out,
        **vectors,
        moving_mean=means,
        moving_variance=variances,
        mean=mean,
        inv=inverse,
        features=features,
        act=_ext.LINEAR,
        momentum=momentum,
        epsilon=epsilon,
    )
    moving_mean[...], moving_variance[...] = means[:features], variances[:features]
    return call.back(out), mean[:features].copy(), inverse[:features].copy()


def batch_norm_inference(
    x: ArrayLike,
    gamma: ArrayLike,
    beta: ArrayLike,
    moving_mean: ArrayLike,
    moving_variance: ArrayLike,
    epsilon: float = 1e-3,
) -> Array:
    """(x - moving_mean) / sqrt(moving_variance + epsilon) gamma + beta. x: (batch, features), the rest (features,)."""
    x = checked("x", x, 2)
    call, features = KernelCall(len(x), x.dtype), x.shape[1]
    named = {"gamma": gamma, "beta": beta, "moving_mean": moving_mean, "moving_variance": moving_variance}
    vectors: Arguments = {
        name: call.vector(checked(name, value, 1, x.dtype), features) for name, value in named.items()
    }
    out = call.panel(features)
    numbers: Arguments = {"features": features, "act": _ext.LINEAR, "epsilon": epsilon}
    call.run("batch_norm_infer", features, x=call.rows(x), y=out, **vectors, **numbers)
    return call.back(out)


def batch_norm_backward(
    x: ArrayLike, dy: ArrayLike, gamma: ArrayLike, mean: ArrayLike, inverse: ArrayLike
) -> tuple[Array, Array, Array]:
    """dx (batch, features), dgamma, dbeta (features,), from what `batch_norm` was given and gave."""
    x = checked("x", x, 2)
    dy = checked("dy", dy, 2, x.dtype)
    if dy.shape != x.shape:
        raise ShapeError(f"dy has shape {dy.shape}, x {x.shape}")
    call, features = KernelCall(len(x), x.dtype), x.shape[1]
    named = {"gamma": gamma, "mean": mean, "inv": inverse}
    vectors: Arguments = {
        name: call.vector(checked(name, value, 1, x.dtype), features) for name, value in named.items()
    }
    dx, dgamma, dbeta = call.panel(features), call.vector(None, features), call.vector(None, features)
    arguments: Arguments = {"x": call.rows(x), "dy": call.rows(dy), **vectors, "features": features}
    call.run("batch_norm_backward", features, **arguments, dx=dx, dgamma=dgamma, dbeta=dbeta)
    return call.back(dx), dgamma[:features].copy(), dbeta[:features].copy()
