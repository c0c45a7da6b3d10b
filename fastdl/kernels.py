"""The kernels one by one, on numpy arrays: how they are tested and timed alone.

Arrays are (batch, features) or (features,), float32 or float64; all arrays of one call have one dtype. Each
function runs the very kernel that training runs, between the copies into and out of its layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastdl import _ext, config
from fastdl.base.arguments import flag
from fastdl.base.arrays import Array, refuse_masked
from fastdl.compiler.memory import aligned, from_strips, padded, to_strips
from fastdl.compiler.phases import Arguments
from fastdl.errors import DataError, ShapeError


def describe(kernel: str) -> str:
    """What a kernel computes and what it is called with, as the kernel table says it. KeyError for another name."""
    table = _ext.KERNELS[kernel]
    lines = [f"{kernel}: {table.what}"]
    for name, argument in table.arguments.items():
        several = f"{argument.length} × " if argument.length > 1 else ""
        lines.append(f"  {name:16} {argument.kind:8}{several}{argument.what}{', or None' * argument.optional}")
    return "\n".join(lines)


def _checked(name: str, value: Any, ndim: int, dtype: Any = None) -> Array:
    """The value as a contiguous array of a kernel's dtype; anything but float64 becomes float32."""
    refuse_masked(name, value)
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name} must hold real numbers, not {array.dtype}")
    if array.ndim != ndim:
        raise ShapeError(f"{name} must have {ndim} dimensions, not shape {array.shape}")
    if dtype is None:
        dtype = np.float64 if array.dtype == np.float64 else np.float32
    return np.ascontiguousarray(array, dtype)


def matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, out: Array | None = None) -> Array:
    """op(a) (m, k) @ op(b) (k, n) → (m, n), into `out` if given (same dtype, contiguous rows, no overlap).

    float32 or float64, any non-negative strides. ShapeError if the sizes do not match.
    """
    transpose_a, transpose_b = flag("transpose_a", transpose_a), flag("transpose_b", transpose_b)
    if out is not None and not isinstance(out, np.ndarray):
        raise TypeError(f"out must be an array, or None, not {out!r}")
    threads = config.get_num_threads()
    if type(a) is type(b) is type(out) is np.ndarray and _ext.matmul(a, b, out, transpose_a, transpose_b, threads):
        return out
    for name, value in (("a", a), ("b", b)):
        refuse_masked(name, value)
    a, b = np.asarray(a), np.asarray(b)
    dtype = np.float64 if np.float64 in (a.dtype, b.dtype) else np.float32
    a, b = _strided("a", a, dtype), _strided("b", b, dtype)
    shape = a.shape[int(transpose_a)], b.shape[1 - int(transpose_b)]
    if a.shape[1 - int(transpose_a)] != b.shape[int(transpose_b)]:
        raise ShapeError(f"matmul of {a.shape} and {b.shape} does not match (transpose: {transpose_a}, {transpose_b})")
    if out is None:
        out = np.empty(shape, dtype)
    elif out.shape != shape or out.dtype != dtype:
        raise ShapeError(f"out must be {shape} of {np.dtype(dtype)}, not {out.shape} of {out.dtype}")
    elif np.may_share_memory(out, a) or np.may_share_memory(out, b):
        raise ValueError("out must not overlap a or b")
    elif not out.flags.writeable or (out.size and not _whole(out)) or (shape[1] > 1 and out.strides[1] != out.itemsize):
        raise ValueError("out must be writable, aligned, and have contiguous rows")
    if 0 in (*shape, a.shape[1 - int(transpose_a)]):
        out[...] = 0
    else:
        _ext.matmul(a, b, out, transpose_a, transpose_b, threads)
    return out


def _whole(array: Array) -> bool:
    """Whether kernels can walk it: aligned, with strides of whole elements, none negative."""
    return array.flags.aligned and all(stride >= 0 and stride % array.itemsize == 0 for stride in array.strides)


def _strided(name: str, array: Array, dtype: Any) -> Array:
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name} must hold real numbers, not {array.dtype}")
    if array.ndim != 2:
        raise ShapeError(f"{name} must have 2 dimensions, not shape {array.shape}")
    array = array.astype(dtype, copy=False)
    return array if _whole(array) else np.array(array, order="C")


class _Call:
    """One kernel run once: arrays are copied into panels or padded storage, and back."""

    def __init__(self, batch: int, dtype: np.dtype[Any]) -> None:
        if batch == 0:
            raise DataError("the batch is empty")
        self.batch, self.dtype = batch, dtype
        self.panels = -(-batch // _ext.PANEL)

    def _program(self) -> _ext.Program:
        return _ext.Program(self.batch, self.dtype.itemsize)

    def panel(self, features: int) -> Array:
        return aligned((self.panels, features, _ext.PANEL), self.dtype)

    def rows(self, x: Array) -> Array:
        """(batch, features) → panels."""
        panel = self.panel(x.shape[1])
        program = self._program()
        program.declare_feed(0, x.shape[1] * self.dtype.itemsize, False)
        program.emit("gather", {"out": panel, "feed": 0, "features": x.shape[1]}, _ext.ONCE, x.shape[1], False)
        program.run({0: x}, 0, 1, None, None, 0, 0, 1)
        return panel

    def back(self, panel: Array) -> Array:
        """panels → (batch, features)."""
        out = np.empty((self.batch, panel.shape[1]), self.dtype)
        program = self._program()
        program.declare_feed(0, panel.shape[1] * self.dtype.itemsize, True)
        arguments = {"x": panel, "feed": 0, "features": panel.shape[1]}
        program.emit("scatter", arguments, _ext.ONCE, panel.shape[1], False)
        program.run({0: out}, 0, 1, None, None, 0, 0, 1)
        return out

    def vector(self, values: Array | None, size: int) -> Array:
        storage = aligned((padded(size),), self.dtype)
        if values is not None:
            storage[:size] = values
        return storage

    def run(
        self,
        kernel: str,
        over: int,
        *,
        rates: Sequence[float] = (0.0,) * _ext.MAX_RATES,
        labels: Array | None = None,
        seed: int = 0,
        step: int = 0,
        **arguments: Any,
    ) -> None:
        """over: how many features it computes. arguments: by the names of the kernel table, arrays in its layouts."""
        program = self._program()
        feeds = {}
        if labels is not None:
            program.declare_feed(0, 4, False)
            feeds[0] = labels
        program.emit(kernel, arguments, _ext.ONCE, over, False)
        program.run(feeds, 0, 1, None, np.array([rates], np.float64), step, seed, 1)


def _elementwise(kernel: str, arrays: dict[str, Any], **numbers: Any) -> Array:
    """A kernel from panels to one panel of the same shape. numbers: what the kernel takes beside `features`."""
    first = next(iter(arrays))
    head = _checked(first, arrays[first], 2)
    call = _Call(len(head), head.dtype)
    panels: Arguments = {}
    for name, value in arrays.items():
        array = _checked(name, value, 2, head.dtype)
        if array.shape != head.shape:
            raise ShapeError(f"{name} has shape {array.shape}, {first} {head.shape}")
        panels[name] = call.rows(array)
    features = panels["features"] = head.shape[1]
    (written,) = (name for name, argument in _ext.KERNELS[kernel].arguments.items() if argument.kind == "written")
    out = panels[written] = call.panel(features)
    call.run(kernel, features, **panels, **numbers)
    return call.back(out)


def bias(x: Any, b: Any) -> Array:
    """x (batch, features) + b (features,): the dense kernel's epilogue, through a product with the identity."""
    x = _checked("x", x, 2)
    return dense(x, np.eye(x.shape[1], dtype=x.dtype), b)


def dense(x: Any, w: Any, b: Any = None, relu: bool = False) -> Array:
    """x (batch, in) @ w (in, out) + b (out,), then max(·, 0) if `relu` → (batch, out). ShapeError."""
    x = _checked("x", x, 2)
    w = _checked("w", w, 2, x.dtype)
    if x.shape[1] != w.shape[0]:
        raise ShapeError(f"x has {x.shape[1]} features, w takes {w.shape[0]}")
    call = _Call(len(x), x.dtype)
    storage, (inputs, outputs) = to_strips(w), w.shape
    offset = None if b is None else call.vector(_checked("b", b, 1, x.dtype), outputs)
    out = call.panel(outputs)
    kind = _ext.RELU if relu else _ext.LINEAR
    sizes: Arguments = {"inputs": inputs, "outputs": outputs, "act": kind, "block": 128, "middle": inputs}
    call.run("dense_forward", outputs, x=call.rows(x), w=storage, b=offset, y=out, **sizes)
    return call.back(out)


def dense_backward(x: Any, w: Any, dy: Any) -> tuple[Array, Array, Array]:
    """dx (batch, in), dw (in, out), db (out,) of x (batch, in) @ w (in, out) + b, from dy (batch, out)."""
    x = _checked("x", x, 2)
    w, dy = _checked("w", w, 2, x.dtype), _checked("dy", dy, 2, x.dtype)
    if dy.shape != (len(x), w.shape[1]) or x.shape[1] != w.shape[0]:
        raise ShapeError(f"x {x.shape}, w {w.shape} and dy {dy.shape} do not belong together")
    call = _Call(len(x), x.dtype)
    storage, gradient = to_strips(w), call.rows(dy)
    inputs, outputs = w.shape
    dx, dw, db = call.panel(inputs), aligned(storage.shape, x.dtype), call.vector(None, outputs)
    sizes: Arguments = {"inputs": inputs, "outputs": outputs}
    call.run("dense_input_grad", inputs, dy=gradient, w=storage, dx=dx, **sizes)
    call.run("dense_weight_grad", outputs, x=call.rows(x), dy=gradient, dw=dw, db=db, dw_stride=0, db_stride=0, **sizes)
    return call.back(dx), from_strips(dw, outputs), db[:outputs].copy()


def activation(name: str, x: Any, *scalars: float) -> Array:
    """y of a row of the kernel table (`_ext.ACTIVATIONS`) with its scalars. x: (batch, features)."""
    return _elementwise("activation_forward", {"x": x}, **_activation(name, scalars))


def activation_backward(name: str, saved: Any, dy: Any, *scalars: float) -> Array:
    """dx from dy and what the row reads: the input x, or the output y. All (batch, features)."""
    return _elementwise("activation_backward", {"saved": saved, "dy": dy}, **_activation(name, scalars))


def _activation(name: str, scalars: Sequence[float]) -> Arguments:
    own = [*scalars, *[0.0] * (_ext.ACTIVATION_SCALARS - len(scalars))]
    return {"activation": _ext.ACTIVATIONS[name][0], "own": own}


def relu(x: Any) -> Array:
    """max(x, 0), NaN kept. x: (batch, features)."""
    return activation("relu", x)


def sigmoid(x: Any) -> Array:
    """1 / (1 + exp(-x)). x: (batch, features)."""
    return activation("sigmoid", x)


def tanh(x: Any) -> Array:
    """Hyperbolic tangent. x: (batch, features)."""
    return activation("tanh", x)


def softmax(x: Any) -> Array:
    """exp(x) / sum of exp(x) over the features. x: (batch, features)."""
    return _elementwise("softmax_forward", {"x": x})


def softmax_backward(y: Any, dy: Any) -> Array:
    """dx from the output y and its gradient dy, all (batch, features)."""
    return _elementwise("softmax_backward", {"y": y, "dy": dy})


def log_softmax(x: Any) -> Array:
    """log(softmax(x)) over the features. x: (batch, features)."""
    return _elementwise("log_softmax_forward", {"x": x})


def log_softmax_backward(y: Any, dy: Any) -> Array:
    """dx from the output y and its gradient dy, all (batch, features)."""
    return _elementwise("log_softmax_backward", {"y": y, "dy": dy})


def dropout(x: Any, rate: float, seed: int = 0, step: int = 0) -> tuple[Array, Array]:
    """x times a mask of 0 and 1 / (1 - rate), and the mask; (batch, features) both."""
    x = _checked("x", x, 2)
    call = _Call(len(x), x.dtype)
    features = x.shape[1]
    out, mask = call.panel(features), call.panel(features)
    numbers: Arguments = {"features": features, "stream": 0, "rate": rate, "seed": seed, "step": step}
    call.run("dropout_forward", features, x=call.rows(x), y=out, mask=mask, **numbers)
    return call.back(out), call.back(mask)


def noise(kind: str, x: Any, *scalars: float, seed: int = 0, step: int = 0) -> Array:
    """x with noise of a row of the kernel table (`_ext.NOISES`) with its scalars. x: (batch, features)."""
    x = _checked("x", x, 2)
    call, features = _Call(len(x), x.dtype), x.shape[1]
    out, settings = call.panel(features), (*scalars, *[0.0] * (_ext.NOISE_SCALARS - len(scalars)))
    numbers: Arguments = {"features": features, "noise": _ext.NOISES[kind][0], "stream": 0, "own": settings}
    call.run("noise_forward", features, x=call.rows(x), y=out, **numbers, seed=seed, step=step)
    return call.back(out)


def motion(
    kind: str,
    x: Any,
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


def motion_backward(kind: str, dy: Any, *scalars: float, fill: str = "reflect", seed: int = 0, step: int = 0) -> Array:
    """dx of `motion`, from dy; (batch, height, width, channels) both."""
    call, rows, out, settings = _motion(kind, dy, scalars, fill)
    call.run("motion_backward", rows.shape[1], dy=rows, dx=out, **settings, seed=seed, step=step)
    return call.back(out).reshape(np.shape(dy))


def _motion(
    kind: str, x: Any, scalars: Sequence[float], fill: str, nearest: bool = False, fill_value: float = 0.0
) -> tuple[_Call, Array, Array, Arguments]:
    """The images and room for others, in panels, and the motion's numbers by the names of the kernel table."""
    x = _checked("x", x, 4)
    call, rows = _Call(len(x), x.dtype), x.reshape(len(x), -1)
    settings: Arguments = dict(zip(("height", "width", "channels"), x.shape[1:], strict=True))
    settings |= {"motion": _ext.MOTIONS[kind], "fill": _ext.FILLS[fill], "nearest": int(nearest), "stream": 0}
    own = (*scalars, *[0.0] * (4 - len(scalars)))
    return call, call.rows(rows), call.panel(rows.shape[1]), {**settings, "own": own, "fill_value": fill_value}


def mix(x: Any, alpha: float, back: bool = False, seed: int = 0, step: int = 0) -> tuple[Array, Array]:
    """Each row w of itself and 1 - w of another one, and w (batch,) from Beta(alpha, alpha). x: (batch, features).

    back: x is the gradient of what was mixed, the result that of what it was mixed of.
    """
    x = _checked("x", x, 2)
    call, features = _Call(len(x), x.dtype), x.shape[1]
    weights, out = call.panel(1), call.panel(features)
    drawn: Arguments = {"stream": 0, "seed": seed, "step": step}
    call.run("mix_weights", 1, weight=weights, alpha=alpha, **drawn)
    call.run("mix", features, x=call.rows(x), y=out, weight=weights, features=features, back=int(back), **drawn)
    return call.back(out), call.back(weights)[:, 0]


def prelu(x: Any, alpha: Any) -> Array:
    """x, below 0 alpha x. x: (batch, features); alpha: (features,)."""
    x = _checked("x", x, 2)
    call, features = _Call(len(x), x.dtype), x.shape[1]
    out = call.panel(features)
    call.run("prelu_forward", features, x=call.rows(x), alpha=call.vector(alpha, features), y=out, features=features)
    return call.back(out)


def prelu_backward(x: Any, dy: Any, alpha: Any) -> tuple[Array, Array]:
    """dx (batch, features) and dalpha (features,) of `prelu`, from dy (batch, features)."""
    x = _checked("x", x, 2)
    call, features = _Call(len(x), x.dtype), x.shape[1]
    dx, slopes = call.panel(features), call.vector(None, features)
    gradient, slope = call.rows(_checked("dy", dy, 2, x.dtype)), call.vector(alpha, features)
    arrays: Arguments = {"x": call.rows(x), "dy": gradient, "alpha": slope, "dx": dx, "dalpha": slopes}
    call.run("prelu_backward", features, **arrays, features=features)
    return call.back(dx), slopes[:features].copy()


def layer_norm(x: Any, gamma: Any, beta: Any, epsilon: float = 1e-3) -> Array:
    """(x - mean) / sqrt(variance + epsilon) gamma + beta of each row. x: (batch, features), the rest (features,)."""
    return _layer_norm(x, gamma, beta, epsilon)[0]


def layer_norm_backward(x: Any, dy: Any, gamma: Any, epsilon: float = 1e-3) -> tuple[Array, Array, Array]:
    """dx (batch, features), dgamma, dbeta (features,) of `layer_norm`, from dy (batch, features)."""
    _, call, rows, mean, inverse = _layer_norm(x, gamma, None, epsilon)
    features = rows.shape[1]
    gradient, scale = call.rows(_checked("dy", dy, 2, call.dtype)), call.vector(gamma, features)
    dx, dgamma, dbeta = call.panel(features), call.vector(None, features), call.vector(None, features)
    given: Arguments = {"x": rows, "dy": gradient, "mean": mean, "inv": inverse, "features": features}
    call.run("layer_norm_backward", features, **given, gamma=scale, dx=dx)
    call.run("layer_norm_weight_grad", features, **given, dgamma=dgamma, dbeta=dbeta)
    return call.back(dx), dgamma[:features].copy(), dbeta[:features].copy()


def _layer_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Array, _Call, Array, Array, Array]:
    """y, and what the gradient needs: x, mean and 1 / sqrt(variance + epsilon), in panels."""
    x = _checked("x", x, 2)
    call, features = _Call(len(x), x.dtype), x.shape[1]
    rows, out, mean, inverse = call.rows(x), call.panel(features), call.panel(1), call.panel(1)
    given: Arguments = {"x": rows, "gamma": call.vector(gamma, features), "beta": call.vector(beta, features)}
    call.run("layer_norm_forward", features, **given, y=out, mean=mean, inv=inverse, features=features, epsilon=epsilon)
    return call.back(out), call, rows, mean, inverse


def batch_norm(
    x: Any,
    gamma: Any,
    beta: Any,
    moving_mean: Array,
    moving_variance: Array,
    momentum: float = 0.99,
    epsilon: float = 1e-3,
) -> tuple[Array, Array, Array]:
    """Training's forward: y (batch, features), mean and 1 / sqrt(variance + epsilon) (features,).

    moving_mean, moving_variance: (features,), of x's dtype, updated in place.
    """
    x = _checked("x", x, 2)
    call, features = _Call(len(x), x.dtype), x.shape[1]
    affine = {"gamma": gamma, "beta": beta}
    vectors: Arguments = {
        name: call.vector(_checked(name, value, 1, x.dtype), features) for name, value in affine.items()
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
    x: Any, gamma: Any, beta: Any, moving_mean: Any, moving_variance: Any, epsilon: float = 1e-3
) -> Array:
    """(x - moving_mean) / sqrt(moving_variance + epsilon) gamma + beta. x: (batch, features), the rest (features,)."""
    x = _checked("x", x, 2)
    call, features = _Call(len(x), x.dtype), x.shape[1]
    named = {"gamma": gamma, "beta": beta, "moving_mean": moving_mean, "moving_variance": moving_variance}
    vectors: Arguments = {
        name: call.vector(_checked(name, value, 1, x.dtype), features) for name, value in named.items()
    }
    out = call.panel(features)
    numbers: Arguments = {"features": features, "act": _ext.LINEAR, "epsilon": epsilon}
    call.run("batch_norm_infer", features, x=call.rows(x), y=out, **vectors, **numbers)
    return call.back(out)


def batch_norm_backward(x: Any, dy: Any, gamma: Any, mean: Any, inverse: Any) -> tuple[Array, Array, Array]:
    """dx (batch, features), dgamma, dbeta (features,), from what `batch_norm` was given and gave."""
    x = _checked("x", x, 2)
    dy = _checked("dy", dy, 2, x.dtype)
    if dy.shape != x.shape:
        raise ShapeError(f"dy has shape {dy.shape}, x {x.shape}")
    call, features = _Call(len(x), x.dtype), x.shape[1]
    named = {"gamma": gamma, "mean": mean, "inv": inverse}
    vectors: Arguments = {
        name: call.vector(_checked(name, value, 1, x.dtype), features) for name, value in named.items()
    }
    dx, dgamma, dbeta = call.panel(features), call.vector(None, features), call.vector(None, features)
    given: Arguments = {"x": call.rows(x), "dy": call.rows(dy), **vectors, "features": features}
    call.run("batch_norm_backward", features, **given, dx=dx, dgamma=dgamma, dbeta=dbeta)
    return call.back(dx), dgamma[:features].copy(), dbeta[:features].copy()


def terminal(
    kernel: str,
    x: Any,
    target: Any,
    *,
    weight: Any = None,
    scale: float = 1.0,
    own: float = 0.0,
    smoothing: tuple[float, float] = (1.0, 0.0),
    **more: Any,
) -> tuple[float, Array, Array]:
    """A kernel of one value a sample: the sum over the batch, times the weights (batch,); the values (batch,); and the
    gradient of that sum / batch (batch, features). target: as x, or labels (batch,). The numbers: see `describe`.
    """
    x = _checked("x", x, 2)
    call, features = _Call(len(x), x.dtype), x.shape[1]
    labels = rows = None
    if np.ndim(target) == 1:
        numbers = np.asarray(target)
        if numbers.shape != (len(x),) or numbers.dtype.kind not in "iu":
            raise ShapeError(f"target must be integer labels of shape ({len(x)},) or {x.shape}")
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < features):
            raise DataError(f"labels must lie in 0 to {features - 1}")
        labels = np.ascontiguousarray(numbers, np.int32)[:, None]
    else:
        rows = _checked("target", target, 2, x.dtype)
        if rows.shape != x.shape:
            raise ShapeError(f"target has shape {rows.shape}, x {x.shape}")
    gradient, each, part = call.panel(features), call.panel(1), aligned((call.panels,), np.dtype(np.float64))
    weights = None if weight is None else call.rows(_checked("weight", weight, 1, x.dtype)[:, None])
    call.run(
        kernel,
        features,
        x=call.rows(x),
        dx=gradient,
        part=part,
        target=None if rows is None else call.rows(rows),
        weight=weights,
        each=each,
        features=features,
        feed=0,
        scale=scale,
        own=own,
        smoothing=smoothing,
        labels=labels,
        **more,
    )
    return float(part.sum()), call.back(each)[:, 0], call.back(gradient)


def softmax_cross_entropy(logits: Any, target: Any) -> tuple[float, Array]:
    """Mean loss and its gradient (batch, classes). target: (batch, classes) or integer labels (batch,)."""
    total, _, gradient = terminal("softmax_cross_entropy", logits, target)
    return total / len(gradient), gradient


def element_loss(loss: str, x: Any, target: Any, own: float = 0.0) -> tuple[float, Array]:
    """Mean over batch and features of a loss of the kernel table, and its gradient. Both (batch, features)."""
    share = 1 / np.shape(x)[1]
    total, _, gradient = terminal("element_loss", x, target, loss=_ext.LOSSES[loss], scale=share, own=own)
    return total / len(gradient), gradient


def step(
    rule: str,
    w: Array,
    gradient: Any,
    slots: Sequence[Array],
    scalars: Sequence[float],
    rates: Sequence[float],
    *,
    limit: float = np.inf,
    decay: float = 0.0,
    norm: float | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
) -> None:
    """One step of an optimizer's rule; w and the slots, (rows, columns) or (columns,), change in place.

    scalars, rates: the rule's, see ext/kernels/optimizers.h. decay: the share of w that is taken off first. limit: of
    each element of the gradient, or of its norm, if that is given. l1, l2: a penalty's, whose slope the gradient gets.
    """
    if w.dtype not in (np.float32, np.float64):
        raise DataError(f"w must be float32 or float64, not {w.dtype}")
    matrices = [np.atleast_2d(array) for array in (w, np.asarray(gradient, w.dtype), *slots)]
    if any(matrix.shape != matrices[0].shape for matrix in matrices):
        raise ShapeError(f"w, gradient and slots must have one shape, not {[m.shape for m in matrices]}")
    number, count = _ext.RULES[rule]
    stored = [to_strips(matrix) for matrix in matrices]
    columns = matrices[0].shape[1]
    squares = aligned((1,), np.dtype(np.float64))
    squares[0] = (norm or 0.0) ** 2
    kept = [*stored[2:], *[None] * (_ext.MAX_SLOTS - count)]
    numbers: Arguments = {"limit": limit, "decay": decay, "l1": l1, "l2": l2}
    _Call(1, w.dtype).run(
        "optimizer_step",
        columns,
        w=stored[0],
        dw=stored[1],
        slots=kept,
        squares=None if norm is None else squares,
        inputs=len(matrices[0]),
        rule=number,
        prepare=int(limit < np.inf or any((decay, l1, l2))),
        constants=(*scalars, *[0.0] * (4 - len(scalars))),
        **numbers,
        rates=(*rates, *[0.0] * (3 - len(rates)), 1.0),
    )
    for i in (0, *range(2, len(stored))):
        matrices[i][...] = from_strips(stored[i], columns)


def sum_squares(gradient: Any, w: Any = None, l1: float = 0.0, l2: float = 0.0) -> float:
    """The sum of squares of a gradient, (rows, columns) or (columns,), with the slope of a penalty on w added."""
    matrix = np.atleast_2d(np.asarray(gradient))
    weights = None if w is None else to_strips(np.atleast_2d(np.asarray(w, matrix.dtype)))
    return _summed("sum_squares", matrix, dw=to_strips(matrix), w=weights, l1=l1, l2=l2)


def weight_penalty(w: Any, l1: float, l2: float) -> float:
    """l1 times the sum of |w|, and l2 times that of w². w: (rows, columns) or (columns,)."""
    matrix = np.atleast_2d(np.asarray(w))
    return _summed("weight_penalty", matrix, w=to_strips(matrix), l1=l1, l2=l2)


def _summed(kernel: str, matrix: Array, **given: Any) -> float:
    """What a kernel leaves in a double for each unit of columns, summed."""
    columns = matrix.shape[1]
    part, total = (aligned((size,), np.dtype(np.float64)) for size in (padded(columns) // _ext.UNIT, 1))
    call = _Call(1, matrix.dtype)
    call.run(kernel, columns, **given, part=part, inputs=len(matrix), outputs=columns)
    call.run("add_parts", 1, part=part, total=total, parts=len(part), first=1)
    return float(total[0])


def activity_penalty(x: Any, l1: float, l2: float) -> tuple[float, Array]:
    """l1 times the sum of |x|, and l2 times that of x²; its gradient / batch. x: (batch, features)."""
    x = _checked("x", x, 2)
    call, features = _Call(len(x), x.dtype), x.shape[1]
    rows, dx, part = call.rows(x), call.panel(features), aligned((call.panels,), np.dtype(np.float64))
    call.run("activity_penalty", features, x=rows, part=part, features=features, l1=l1, l2=l2)
    call.run("activity_penalty_grad", features, x=rows, dx=dx, features=features, l1=l1, l2=l2)
    return float(part.sum()), call.back(dx)


def limit_norm(w: Any, least: float, most: float, rate: float = 1.0, axis: int | None = 0) -> Array:
    """w with norms that go `rate` of the way into [least, most]: of columns (axis 0), rows (1) or all (None)."""
    matrix = np.atleast_2d(np.asarray(w))
    stored, (rows, columns) = to_strips(matrix), matrix.shape
    kind = {0: _ext.NORM_COLUMNS, 1: _ext.NORM_ROWS, None: _ext.NORM_ALL}[axis]
    features = {0: columns, 1: rows, None: 1}[axis]
    sizes: Arguments = {"inputs": rows, "outputs": columns, "norm_of": kind}
    _Call(1, matrix.dtype).run("limit_norm", features, w=stored, **sizes, least=least, most=most, rate=rate)
    return from_strips(stored, columns).reshape(np.shape(w))


def not_negative(w: Any) -> Array:
    """max(w, 0), NaN kept. w: (rows, columns) or (columns,)."""
    matrix = np.atleast_2d(np.asarray(w))
    stored = to_strips(matrix)
    _Call(1, matrix.dtype).run("not_negative", stored.size, w=stored)
    return from_strips(stored, matrix.shape[1]).reshape(np.shape(w))


def average_weights(w: Array, average: Array, step: int, momentum: float, frequency: int = 0) -> None:
    """average = momentum average + (1 - momentum) w after step number `step` (from 0), in place; (columns,) both.

    The first average is w; each `frequency` steps it is copied back into w.
    """
    call, size = _Call(1, w.dtype), len(w)
    stored = [call.vector(array, size) for array in (w, average)]
    numbers: Arguments = {"momentum": momentum, "frequency": frequency}
    call.run("average_weights", size, w=stored[0], average=stored[1], **numbers, step=step)
    w[...], average[...] = stored[0][:size], stored[1][:size]
