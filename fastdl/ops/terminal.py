"""Where a program ends: losses and metrics, which read the prediction and the target and leave sums."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastdl import _ext, tree
from fastdl.base.arrays import Array, Dtype, as_labels, refuse_masked
from fastdl.base.scopes import having
from fastdl.compiler.builder import Builder
from fastdl.compiler.feeds import OUT_FEED, W_FEED, X_FEED, Y_FEED
from fastdl.compiler.graph import Graph, Shape, Target, Tensor, tracing
from fastdl.compiler.phases import Arguments, Ref, read, write
from fastdl.compiler.program import Program, Reading
from fastdl.compiler.program import Terminal as Terminal  # what a program asks of one
from fastdl.errors import DataError, ShapeError
from fastdl.ops.numeric import reduce
from fastdl.ops.panels import from_panels, into_panels

NO_SMOOTHING = (1.0, 0.0)


@dataclass(frozen=True)
class PerSample:
    """A kernel of one value a sample. totals: (sum, times weights; weights; samples).

    labels: the target is one int32 label a sample, else one number a feature. mean: over the features, else their sum.
    Of (batch, ..., features) it is the mean of the values along the last axis, each with a label of its own.
    """

    kernel: str
    labels: bool = False
    mean: bool = False
    own: float = 0.0
    smoothing: tuple[float, float] = NO_SMOOTHING
    scale: float = 1.0
    more: Arguments = field(default_factory=dict)  # arguments that only this kernel has

    def width(self, features: int) -> int:
        return 3

    def emit(
        self, build: Builder, x: Tensor, totals: Array, gradient: Ref | None, weight: Ref | None, each: Ref | None
    ) -> None:
        part = build.part_ref()
        members = 1 if self.mean else x.members  # a mean over all is the mean over members of theirs
        features = x.features // members
        if self.labels and build.mixing:
            raise DataError(
                "MixUp mixes targets, and integer labels cannot be mixed: make one-hot rows of them with "
                "utils.to_categorical, and use the loss categorical_crossentropy"
            )
        target = self._target(build, x)
        build.emit(
            self.kernel,
            x=read(build.value(x)),
            dx=write(gradient) if gradient else None,
            part=write(part),
            target=read(target) if target else None,
            weight=read(weight) if weight else None,
            each=write(each) if each else None,
            features=features,
            feed=build.feed(Y_FEED),
            scale=self.scale / features if self.mean else self.scale,
            own=self.own,
            smoothing=self.smoothing,
            **self.more,
            axis=_ext.BY_PANEL,
            members=members,
        )
        _sum_parts(build, part, totals, weight)

    def _target(self, build: Builder, x: Tensor) -> Ref | None:
        return None if self.labels else build.target(x.features)

    def target_bytes(self, x: Tensor) -> int:
        return 4 * x.members if self.labels else x.features * x.dtype.itemsize


@dataclass(frozen=True)
class Values(PerSample):
    """What a formula of one's own made of predictions and targets: each sample's value, which is all there is to read.

    targets: features of the targets that the formula reads, 0 if it reads none.
    """

    kernel: str = "values"
    targets: int = 0

    def _target(self, build: Builder, x: Tensor) -> Ref | None:
        return None

    def target_bytes(self, x: Tensor) -> int:
        return self.targets * x.dtype.itemsize


_targets: ContextVar[Shape | None] = ContextVar("targets", default=None)


@contextmanager
def targets_of(shape: Shape | None) -> Iterator[None]:
    """Within, targets have this shape where it is not that of the output."""
    with having(_targets, shape):
        yield


def target_shape(output: Tensor) -> Shape:
    """What targets of the output have."""
    return _targets.get() or output.shape


def traced(function: Callable[[Any, Any], Any], output: Tensor) -> tuple[Tensor, Values]:
    """Each sample's value by a function of targets and predictions that is made of ops, and what sums it up.

    Of a function that gives several numbers a sample it is their mean, as in Keras. TypeError for one whose result is
    no tensor: it computes by numpy.
    """
    target = Target(target_shape(output), output.dtype, name="y_true")
    return _value(function, target, output), Values(targets=target.features)


def traced_jointly(
    function: Callable[[Any, Any], Any], structure: Any, outputs: Sequence[Tensor], shapes: Mapping[int, Shape]
) -> tuple[Tensor, Values]:
    """As `traced`, of several outputs and their targets, each in the structure, which holds the outputs' numbers.

    shapes: of targets that have not that of their output.
    """

    def target(number: int) -> Target:
        made = Target(shapes.get(number) or outputs[number].shape, outputs[number].dtype, name="y_true")
        made.output = number
        return made

    targets = tree.map_structure(target, structure)
    return _value(function, targets, tree.map_structure(lambda number: outputs[number], structure)), Values()


def _value(function: Callable[[Any, Any], Any], targets: Any, outputs: Any) -> Tensor:
    with tracing():
        value = function(targets, outputs)
    if not isinstance(value, Tensor):
        raise TypeError(f"{naming(function)} gives {type(value).__name__}, not a tensor")
    return as_value(value)


def as_value(value: Tensor) -> Tensor:
    """One number a sample, or one for all of them: the mean of what there is."""
    axes = tuple(range(int(value.batched), value.ndim))
    return reduce(value, axes, False, "sum", mean=True) if axes else value


def naming(function: Callable[..., Any]) -> str:
    """What to call a function of one's own."""
    return str(getattr(function, "__name__", type(function).__name__))


def _sum_parts(build: Builder, part: Ref, totals: Array, weight: Ref | None) -> None:
    build.emit(
        "sum_parts",
        part=read(part),
        total=write(build.array(totals)),
        weight=read(weight) if weight else None,
        over=1,
        axis=_ext.ONCE,
        defer=True,
    )


@dataclass(frozen=True)
class Counts:
    """A kernel that counts, or sums feature by feature, sample after sample, into `rows` rows of totals.

    each_feature: a row has one total a feature, else `rows` is all of them. thresholds: for count_above.
    """

    kernel: str
    rows: int
    more: Arguments = field(default_factory=dict)  # arguments that only this kernel has
    each_feature: bool = True
    thresholds: tuple[float, ...] | None = None

    def width(self, features: int) -> int:
        return self.rows * features if self.each_feature else self.rows

    def emit(
        self, build: Builder, x: Tensor, totals: Array, gradient: Ref | None, weight: Ref | None, each: Ref | None
    ) -> None:
        more = dict(self.more)
        if self.each_feature and x.members > 1:
            raise ShapeError(f"a metric of each output takes outputs of (batch, outputs), not {x.shape}")
        if self.thresholds is not None:
            more["thresholds"] = read(build.array(build.constant(self.thresholds)))
        build.emit(
            self.kernel,
            x=read(build.value(x)),
            target=read(build.target(x.features)),
            weight=read(weight) if weight else None,
            total=write(build.array(totals)),
            features=x.features,
            **more,
            over=1,
            axis=_ext.ONCE,
        )

    def target_bytes(self, x: Tensor) -> int:
        return x.features * x.dtype.itemsize


# (targets, predictions) of a batch → values (batch,), and for a loss their gradients (batch, outputs) too
SampleFunction = Callable[[Array, Array], Any]


@dataclass(frozen=True)
class Own:
    """A numpy function in place of a kernel: it takes the GIL, and its errors end the pass.

    reason: why it was not compiled, if that was tried.
    """

    function: SampleFunction
    reason: Exception | None = None

    def width(self, features: int) -> int:
        return 3

    def emit(
        self, build: Builder, x: Tensor, totals: Array, gradient: Ref | None, weight: Ref | None, each: Ref | None
    ) -> None:
        build.call(
            self._run(build.batch, build.dtype, x.features),
            *(read(build.value(x)), read(build.target(x.features)), write(build.array(totals))),
            *(write(gradient) if gradient else None, read(weight) if weight else None, write(each) if each else None),
        )

    def _run(self, batch: int, dtype: Dtype, features: int) -> Callable[..., None]:
        def rows(panels: Array) -> Array:
            return from_panels(panels, batch, dtype)

        def put(panels: Array, values: Array) -> None:
            into_panels(panels, values, dtype)

        def run(x: Array, y: Array, totals: Array, dx: Array | None, weight: Array | None, each: Array | None) -> None:
            values, slope = self._checked(self.function(rows(y), rows(x)), batch, features, dx is not None)
            weights = np.ones(batch) if weight is None else rows(weight)[:, 0].astype(np.float64)
            totals[:3] += (values * weights).sum(), weights.sum(), batch
            if dx is not None:
                put(dx, slope * weights[:, None] / batch)
            if each is not None:
                put(each, values[:, None])

        return run

    def _checked(self, result: Any, batch: int, features: int, wants_slope: bool) -> tuple[Array, Array]:
        """ShapeError for what is not values (batch,), with gradients (batch, outputs) if they are wanted."""
        name = naming(self.function)
        values, slope = result if isinstance(result, tuple) else (result, None)
        if wants_slope and slope is None:
            raise ShapeError(
                f"{name} must be made of fastdl.ops, or return (values, gradients), to be trained with. It was not "
                f"compiled: {self.reason}"
            ) from self.reason
        values = np.asarray(values, np.float64)
        if values.ndim != 1 and slope is None:  # a number for the whole batch, or several a sample
            values = np.full(batch, values) if values.ndim == 0 else values.reshape(len(values), -1).mean(1)
        slope = np.zeros((batch, features)) if slope is None else np.asarray(slope, np.float64)
        if values.shape != (batch,) or slope.shape != (batch, features):
            raise ShapeError(
                f"{name} must return values of shape ({batch},) and gradients of shape ({batch}, {features}), not "
                f"{values.shape} and {slope.shape}"
            )
        return values, slope

    def target_bytes(self, x: Tensor) -> int:
        return x.features * x.dtype.itemsize


@dataclass(frozen=True)
class OfBatch:
    """A loss of a batch as a whole, by numpy: it takes the GIL.

    function: of (targets, predictions, weights of samples or None) the loss, as a mean over the batch, and its gradient
    by the predictions. sample: the shape of one's predictions, which the function is given them in, and the targets as
    well, if these are as many numbers; targets: how many these are.
    """

    function: Callable[[Array, Array, Array | None], tuple[float, Array]]
    sample: tuple[int, ...]
    targets: int

    def width(self, features: int) -> int:
        return 3

    def emit(
        self, build: Builder, x: Tensor, totals: Array, gradient: Ref | None, weight: Ref | None, each: Ref | None
    ) -> None:
        batch, dtype = build.batch, build.dtype
        of_targets = self.sample if self.targets == x.features else (self.targets,)

        def run(x: Array, y: Array, totals: Array, dx: Array | None, weight: Array | None, each: Array | None) -> None:
            given = [from_panels(panels, batch, dtype) for panels in (y, x)]
            weights = None if weight is None else from_panels(weight, batch, dtype)[:, 0].astype(np.float64)
            loss, slope = self.function(
                given[0].reshape(batch, *of_targets), given[1].reshape(batch, *self.sample), weights
            )
            totals[:3] += loss * batch, batch if weights is None else weights.sum(), batch
            if dx is not None:
                into_panels(dx, slope.reshape(batch, -1), dtype)
            if each is not None:
                into_panels(each, np.full((batch, 1), loss), dtype)

        build.call(
            run,
            *(read(build.value(x)), read(build.target(self.targets)), write(build.array(totals))),
            *(write(gradient) if gradient else None, read(weight) if weight else None, write(each) if each else None),
        )

    def target_bytes(self, x: Tensor) -> int:
        return self.targets * x.dtype.itemsize


def on_arrays(
    terminal: Terminal, y_true: Any, y_pred: Any, sample_weight: Any = None, each: bool = True
) -> tuple[Array, Array]:
    """The terminal's values, (samples,), and its totals. y_pred: (…, features), y_true alike or labels (…).

    Computes in float64 if y_pred is float64, else in float32. DataError, ShapeError.
    """
    for name, value in (("y_true", y_true), ("y_pred", y_pred), ("sample_weight", sample_weight)):
        refuse_masked(name, value)
    predicted = np.asarray(y_pred)
    dtype = np.dtype(np.float64 if predicted.dtype == np.float64 else np.float32)
    x = np.ascontiguousarray(np.atleast_1d(predicted), dtype)
    lead, x = x.shape[:-1], x.reshape(-1, x.shape[-1])
    if not x.size:
        raise DataError(f"y_pred is empty: it has shape {predicted.shape}")
    source = Tensor((None, x.shape[1]), dtype, name="y_pred")
    labels, target = isinstance(terminal, PerSample) and terminal.labels, np.asarray(y_true)
    if target.size != (len(x) if labels else x.size):
        raise ShapeError(f"y_true has shape {target.shape}, which does not fit y_pred's {predicted.shape}")
    if labels:
        y = as_labels("y_true", target.reshape(-1), x.shape[1])
    else:
        y = np.ascontiguousarray(target.reshape(len(x), -1), dtype)
    feeds = {X_FEED: x, Y_FEED: y}
    if sample_weight is not None:
        feeds[W_FEED] = np.ascontiguousarray(np.broadcast_to(np.asarray(sample_weight, dtype).ravel(), len(x)))[:, None]
    graph = Graph([source], [source])
    if each:
        feeds[OUT_FEED] = np.empty((len(x), 1), dtype)
    reading = Reading(terminal, source, weighted=sample_weight is not None)
    program = Program(graph, len(x), metrics=[reading], each=each)
    program.run(feeds)
    return (feeds[OUT_FEED].reshape(lead) if each else np.empty(0)), program.totals[0]
