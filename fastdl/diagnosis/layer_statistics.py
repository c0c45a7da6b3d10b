"""What goes on inside a net: activations, gradients and updates, layer by layer, and what is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastdl import config
from fastdl.base.arrays import Array, Dtype
from fastdl.base.text import InNotebooks
from fastdl.compiler.builder import Builder
from fastdl.compiler.feeds import FEEDS, W_FEED, X_FEED
from fastdl.compiler.graph import Graph, Parameter, Tensor
from fastdl.compiler.phases import Ref, read
from fastdl.compiler.program import Program, Reading
from fastdl.layers.calls import calls_between
from fastdl.layers.layer import Layer
from fastdl.models.callback import Watched
from fastdl.models.feeding import Feeds
from fastdl.models.model import Model
from fastdl.ops import Activation, LogSoftmax, PReLU, RReLU, Softmax
from fastdl.ops.panels import from_panels
from fastdl.optimizers import Optimizer

FALL = 1e-3  # the gradient of one layer beside that of another: smaller has vanished, the inverse has exploded
HALF = 0.5  # of a layer's units, or activations: where so many are dead or saturated, it is said
TINY = 1e-300
NEAR = 0.01  # of its range: an activation so near to one of its limits is saturated
LIMITS = {"sigmoid": (0.0, 1.0), "hard_sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "softsign": (-1.0, 1.0)}
RECTIFIERS = ("relu", "relu6", "rectify")


@dataclass(frozen=True)
class LayerRecord:
    """One layer on one batch, in training mode.

    mean, std: of its outputs. gradient_norm: of the loss by its trained weights, before any clipping. update_ratio:
    the norm of the step that the optimizer would take now, by that of the weights. dead: the share of units that are
    zero for every row, of rectifiers. saturated: the share of outputs at the ends of a sigmoid, tanh or the like.
    None for what a layer does not have.
    """

    name: str
    kind: str
    mean: float
    std: float
    gradient_norm: float | None
    update_ratio: float | None
    dead: float | None
    saturated: float | None
    matrix: bool  # whether it trains a kernel: such layers' gradients are compared
    last: bool  # whether the model ends in it


@dataclass(frozen=True, repr=False)
class Snapshot(InNotebooks):
    """All layers after so many epochs, and what is wrong: vanishing, exploding, dying, saturating, each in words."""

    epoch: int
    layers: tuple[LayerRecord, ...]

    @property
    def findings(self) -> dict[str, str]:
        """By name, in words. Empty where nothing is wrong."""
        kinds = {"vanishing": _vanishing, "exploding": _exploding, "dying": _dying, "saturating": _saturating}
        texts = {kind: see(self.layers) for kind, see in kinds.items()}
        return {kind: text for kind, text in texts.items() if text}

    def __repr__(self) -> str:
        wrong = ", ".join(self.findings) or "nothing wrong is seen"
        return f"<Snapshot after epoch {self.epoch}: {len(self.layers)} layers, {wrong}>"

    def __str__(self) -> str:
        width = max(map(len, ("layer", *(layer.name for layer in self.layers))))
        lines = [f"{'layer':{width}}       mean        std   gradient     update    dead  saturated"]
        for layer in self.layers:
            shares = [_percent(layer.dead).rjust(8), _percent(layer.saturated).rjust(11)]
            numbers = layer.mean, layer.std, layer.gradient_norm, layer.update_ratio
            lines.append(f"{layer.name:{width}}" + "".join(_number(n).rjust(11) for n in numbers) + "".join(shares))
        lines += [f"{kind}: {text}" for kind, text in self.findings.items()] or ["nothing wrong is seen"]
        return "\n".join(lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2e}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


# -- what is wrong ----------------------------------------------------------------------------------------


def _vanishing(layers: Sequence[LayerRecord]) -> str:
    trained = _gradients(layers)
    if not trained:
        return ""
    if not any(norm for norm, _ in trained):
        return "no gradient arrives at any layer"
    pairs = [(low, max(trained[i:])) for i, low in enumerate(trained)]
    (norm, low), (most, high) = min(pairs, key=lambda pair: pair[0][0] / (pair[1][0] or 1.0))
    if norm >= FALL * most:
        return ""
    return (
        f"the gradient of {low} ({norm:.1e}) is {norm / most:.1e} of {high}'s ({most:.1e}): {low} hardly learns. ReLU, "
        "SELU or batch norm help, and initial weights made for the activation"
    )


def _exploding(layers: Sequence[LayerRecord]) -> str:
    help = "Smaller learning rates, clipnorm= or batch norm help, and initial weights made for the activation"
    for layer in layers:
        numbers = layer.mean, layer.std, layer.gradient_norm or 0.0, layer.update_ratio or 0.0
        if not all(map(math.isfinite, numbers)):
            return f"{layer.name} is not finite any more. {help}"
    trained = _gradients(layers)
    pairs = [(high, min(trained[i:])) for i, high in enumerate(trained)]
    if pairs:
        (most, high), (norm, low) = max(pairs, key=lambda pair: pair[0][0] / max(pair[1][0], TINY))
        if norm < FALL * most:
            return f"the gradient of {high} ({most:.1e}) is far above {low}'s ({norm:.1e}). {help}"
    for layer in layers:
        if (layer.update_ratio or 0) >= 1:
            return f"one step changes {layer.name} by {layer.update_ratio:.3g} times its own size. {help}"
    return ""


def _dying(layers: Sequence[LayerRecord]) -> str:
    dead = [layer for layer in layers if (layer.dead or 0) >= HALF]
    return (
        f"{_listed(dead, 'dead')} of the units are zero for every row, and learn no more. Smaller learning rates, "
        "He initialisation or leaky_relu help"
        if dead
        else ""
    )


def _saturating(layers: Sequence[LayerRecord]) -> str:
    full = [layer for layer in layers if (layer.saturated or 0) >= HALF and not layer.last]  # an output may be sure
    return (
        f"{_listed(full, 'saturated')} of the outputs lie at their limits, where the slope is nearly zero. Smaller "
        "initial weights, scaled inputs or batch norm help"
        if full
        else ""
    )


def _listed(layers: Sequence[LayerRecord], share: str) -> str:
    return ", ".join(f"{layer.name}: {getattr(layer, share):.0%}" for layer in layers)


def _gradients(layers: Sequence[LayerRecord]) -> list[tuple[float, str]]:
    """Norms and names of layers that train a kernel, from input to output."""
    norms = ((r.gradient_norm, r.name) for r in layers if r.matrix)
    return [(norm, name) for norm, name in norms if norm is not None and math.isfinite(norm)]


# -- measuring --------------------------------------------------------------------------------------------


class _Gradients(Optimizer):
    """Leaves minus the gradient in its slot, exactly: 0 * 0 - 1 * g."""

    rule, slot_names = "momentum", ("gradient",)

    def __init__(self) -> None:
        super().__init__(1.0)

    def scalars(self) -> tuple[float, ...]:
        return (0.0,)


class _Watch:
    """A terminal that takes the statistics of a tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        op = tensor.op
        kind = op.kind if isinstance(op, Activation) else ""
        self._limits = LIMITS.get(kind)
        leaky = kind == "rectify" and isinstance(op, Activation) and op.scalars[0] != 0
        self._rectifies = kind in RECTIFIERS and not leaky
        self.mean = self.std = math.nan
        self.dead: float | None = None
        self.saturated: float | None = None

    def width(self, features: int) -> int:
        return 1

    def target_bytes(self, x: Tensor) -> int:
        return 0

    def emit(
        self, build: Builder, x: Tensor, totals: Array, gradient: Ref | None, weight: Ref | None, each: Ref | None
    ) -> None:
        build.call(self._look(build.batch, build.dtype, x.features), read(build.value(x)))

    def _look(self, batch: int, dtype: Dtype, features: int) -> Callable[[Array], None]:
        def look(panels: Array) -> None:
            values = from_panels(panels, batch, dtype).astype(np.float64)
            with np.errstate(all="ignore"):  # what is not finite is reported
                self.mean, self.std = float(values.mean()), float(values.std())
            if self._rectifies:
                self.dead = float((values <= 0).all(0).mean())
            if self._limits:
                low, high = self._limits
                near = NEAR * (high - low)
                self.saturated = float(((values <= low + near) | (values >= high - near)).mean())

        return look


class Probe:
    """Measures a compiled model on one batch of feeds, and leaves no trace in it. Hold the model's lock."""

    def __init__(self, model: Watched, feeds: Feeds) -> None:
        optimizer, objective = model.session.compiled()
        self._model, self._optimizer, self._feeds = model, optimizer, feeds
        graph = model.trace()
        losses, _ = objective.readings(graph, any(feed % FEEDS == W_FEED for feed in feeds), len(feeds[X_FEED]))
        self._layers = [(layer, _Watch(tensor)) for layer, tensor in _outputs(graph) if _tells(layer, tensor)]
        self._ends = set(graph.outputs)
        self._gradients = _Gradients()
        watches = [Reading(watch, watch.tensor) for _, watch in self._layers]

        def program(optimizer: Optimizer, metrics: Sequence[Reading]) -> Program:
            return Program(
                graph,
                len(feeds[X_FEED]),
                training=True,
                losses=losses,
                metrics=metrics,
                optimizer=optimizer,
                trained=model.session.trained,
            )

        self._programs = program(self._gradients, watches), program(optimizer, ())

    def records(self) -> tuple[LayerRecord, ...]:
        """All layers, as the model stands now."""
        to_gradient, to_step = self._programs
        with self._restored():
            for slots in self._gradients.state.slots.values():
                slots[0].storage[...] = 0
            self._run(to_gradient, self._gradients.rates(1))
        before = {p: p.numpy().astype(np.float64) for p in self._model.trainable_weights}
        with self._restored():
            self._run(to_step, self._optimizer.rates(1))
            after = {p: p.numpy().astype(np.float64) for p in before}
        return tuple(self._record(layer, watch, before, after) for layer, watch in self._layers)

    def _record(
        self, layer: Layer, watch: _Watch, before: dict[Parameter, Array], after: dict[Parameter, Array]
    ) -> LayerRecord:
        trained = [p for p in layer.weights if p in before and p in self._gradients.state.slots]
        norm = ratio = None
        if trained:
            norm = _norm(self._gradients.state.slots[p][0].numpy() for p in trained)
            size = _norm(before[p] for p in trained)
            ratio = _norm(after[p] - before[p] for p in trained) / size if size else None
        return LayerRecord(
            layer.name,
            type(layer).__name__,
            *(watch.mean, watch.std, norm, ratio, watch.dead, watch.saturated),
            matrix=any(len(p.shape) == 2 for p in trained),
            last=watch.tensor in self._ends,
        )

    def _run(self, program: Program, rates: Array) -> None:
        seed, step = self._model.session.seed or 0, self._optimizer.batches
        program.run(self._feeds, rates=rates, step=step, seed=seed, threads=config.get_num_threads())

    @contextmanager
    def _restored(self) -> Iterator[None]:
        """Weights, moving averages and the optimizer's slots are afterwards as before, to the bit."""
        storages = [parameter.storage for parameter in (*self._model.weights, *self._optimizer.kept)]
        copies = [storage.copy() for storage in storages]
        try:
            yield
        finally:
            for storage, values in zip(storages, copies, strict=True):
                storage[...] = values


def _norm(arrays: Iterator[Array]) -> float:
    """The Euclidean norm of all numbers together, summed in float64."""
    with np.errstate(all="ignore"):
        return math.sqrt(sum(float(np.square(array, dtype=np.float64).sum()) for array in arrays))


def _tells(layer: Layer, tensor: Tensor) -> bool:
    """Whether the layer has weights or is an activation: others pass on what came before them."""
    return bool(layer.weights) or isinstance(tensor.op, Activation | LogSoftmax | PReLU | RReLU | Softmax)


def _outputs(graph: Graph) -> Iterator[tuple[Layer, Tensor]]:
    """The layers in the order of their use, with what each gives; models that are layers are layers here."""
    for call in calls_between("the model", graph.sources, graph.outputs):
        for tensor in call.outputs:
            yield call.layer, tensor


def layer_statistics(model: Model, x: Any, y: Any, sample_weight: Any = None) -> Snapshot:
    """Statistics of each layer on these rows, as one batch in training mode; the model stays as it is, to the bit.

    x, y, sample_weight: as for fit. `print` shows a table and, in words, what is wrong. DataError, ShapeError, and
    RuntimeError for a model that is not compiled.
    """
    session = model.session
    feeds = session.feeds(session.feeding.inputs(x), y, sample_weight)
    with session.lock:
        return Snapshot(0, Probe(model, feeds).records())
