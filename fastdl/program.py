"""Graph → Program: ops emit kernels on named buffers, `schedule` orders and places them, the executor runs them."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fastdl import _ext
from fastdl.graph import Array, Graph, Op, Parameter, Tensor, aligned, padded
from fastdl.schedule import Access, Call, Ref, place, read, read_all, schedule, write

if TYPE_CHECKING:
    from fastdl.ops.mix import Mixing

# Feeds: the first input, and the first output's targets, rows, weights of samples; those of the next are FEEDS further.
X_FEED, Y_FEED, OUT_FEED, W_FEED = 0, 1, 2, 3
FEEDS = 4
MOST_OUTPUTS = _ext.MAX_FEEDS // FEEDS  # and inputs
SHARED_PANELS = 32  # from a batch this large on, training may share panels …
SHARED_WEIGHTS = 65536  # … if a copy of all gradients for each part is this small
TRAINING_PARTS = 16
HALVES_FROM_FLOPS = 1_000_000  # of a forward pass; below, one thread does it all and would only sum in two parts
MOST_NESTED = 16  # programs of which each runs in a Python function of the one around it: each takes 64 kB of C stack
NEAR_WEIGHTS = 32768  # weights that stay in the first caches while each panel reads them


class Terminal(Protocol):
    """A loss or a metric: emits the kernels that read the model's prediction and the target, and add to `totals`.

    gradient: where a loss leaves that of the batch's mean. weight, each: one number a sample, in and out.
    target_bytes: of a sample's target, 0 if it reads none.
    """

    def emit(
        self, build: Builder, x: Tensor, totals: Array, gradient: Ref | None, weight: Ref | None, each: Ref | None
    ) -> None: ...
    def width(self, features: int) -> int: ...
    def target_bytes(self, x: Tensor) -> int: ...


@dataclass(frozen=True)
class Reading:
    """A terminal, and what it reads: a tensor, and the targets and weights of the model's output of that number."""

    terminal: Terminal
    tensor: Tensor
    output: int = 0
    weighted: bool = False  # by the samples' weights
    share: float = 1.0  # of a loss in the sum of all


class UpdateRule(Protocol):
    """What the program asks of an optimizer."""

    rule: str  # one of the kernel table's
    clipnorm: float | None
    global_clipnorm: float | None
    clipvalue: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None

    def slots(self, parameter: Parameter) -> Sequence[Array]: ...
    def average(self, parameter: Parameter) -> Array: ...
    def scalars(self) -> Sequence[float]: ...
    def decay(self, parameter: Parameter) -> float: ...


def _division(graph: Graph, panels: int, training: bool) -> tuple[int, int]:
    """Whether threads share the features or the panels, and into how many parts the panels are cut.

    By panels a thread takes its parts through layer after layer, in its cache, and meets nobody; but each part
    reads all weights, and training sums each weight's gradient over the parts. By features each thread owns some
    columns of each layer's weights, their slots and batch norms.
    """
    weights = sum(math.prod(p.shape) for op in graph.ops for p in op.parameters)
    if training:
        if panels >= SHARED_PANELS and weights <= SHARED_WEIGHTS:
            return _ext.BY_PANEL, TRAINING_PARTS
        return _ext.BY_FEATURE, panels
    if panels == 1:
        return _ext.BY_FEATURE, 1
    return _ext.BY_PANEL, panels if weights <= NEAR_WEIGHTS else -(-panels // 4)


def _strengths(parameter: Parameter) -> tuple[float, float]:
    """The l1 and l2 of its penalty, as far as kernels know it."""
    return parameter.regularizer.strengths if parameter.regularizer else (0.0, 0.0)


class Builder:
    """What ops see while a program is built: buffers by tensor, and `emit`."""

    def __init__(
        self,
        graph: Graph,
        batch: int,
        training: bool,
        optimizer: UpdateRule | None,
        noisy: bool | None = None,
        trained: Collection[Parameter] | None = None,
        learned: Graph | None = None,
        recalibrates: bool = False,
        counts_penalties: bool = False,
    ) -> None:
        self.graph, self.batch, self.training, self.optimizer = graph, batch, training, optimizer
        self.noisy = training if noisy is None else noisy  # whether what is random in training is
        self.recalibrates = recalibrates  # batch norm's moving averages become the batch's statistics
        self.counts_penalties = counts_penalties  # whether there is a loss for them to be part of
        self.output = 0  # whose targets and weights the terminals ask for
        self.dtype = graph.inputs[0].dtype
        self.panels = -(-batch // _ext.PANEL)
        self.axis, self.parts = _division(graph, self.panels, training)
        # whether threads that own features share long sums by halves of the inputs
        self.halves = training and self.axis == _ext.BY_FEATURE and graph.flops * batch >= HALVES_FROM_FLOPS
        self.calls: list[Call] = []
        self.saved: dict[Op, tuple[Ref, ...]] = {}  # what an op's forward keeps for its backward
        self.fused: set[Op] = set()  # ops whose forward the op before them does in its own kernel
        self.done_backward: set[Op] = set()  # ops whose backward another op does in its own kernel
        self.mixing: Mixing | None = None  # of the batch's samples, and then of its targets
        self._sources: dict[Tensor, Tensor] = {}
        self._values: dict[Tensor, Ref] = {}
        self._gradients: dict[Tensor, list[Ref]] = {}
        self._fixed: dict[int, Ref] = {}
        self._targets: dict[int, Ref] = {}
        self._weights: dict[int, Ref] = {}
        self._partial: dict[Parameter, Ref] = {}  # gradients of parameters that several ops read, so far
        self._left = Counter(p for op in (learned or graph).ops for p in op.parameters)
        self._shared = {parameter for parameter, readers in self._left.items() if readers > 1}
        self._waiting: list[tuple[Parameter, Ref]] = []  # for the norm of all gradients
        self._squares: Ref | None = None  # of all gradients
        self.penalties = aligned((1,), np.dtype(np.float64))
        parameters = [p for op in graph.ops for p in op.parameters]
        self._stepped = {p for p in parameters if (p.trainable if trained is None else p in trained)}
        self._trained: set[Tensor] = set()
        for op in graph.ops:
            if any(map(self.trains, op.parameters)) or any(t in self._trained for t in op.inputs):
                self._trained.add(op.output)

    def panel_ref(self, features: int) -> Ref:
        """A buffer for `features` numbers a sample."""
        return Ref(self.panels * features * _ext.PANEL * self.dtype.itemsize)

    def vector_ref(self, features: int) -> Ref:
        """A buffer for one number a feature."""
        return Ref(padded(features) * self.dtype.itemsize, panels=False)

    def part_ref(self) -> Ref:
        """A buffer for one double a panel."""
        return Ref(self.panels * 8)

    def value(self, tensor: Tensor) -> Ref:
        tensor = self._sources.get(tensor, tensor)
        if tensor not in self._values:
            self._values[tensor] = self.panel_ref(tensor.features)
        return self._values[tensor]

    def gradient(self, tensor: Tensor) -> Ref:
        """The gradient of the loss by the tensor: the sum of what all its readers gave."""
        parts = self._gradients[self._sources.get(tensor, tensor)]
        while len(parts) > 1:
            parts[:2] = [self._add(tensor.features, parts[0], parts[1])]
        return parts[0]

    def give(self, tensor: Tensor, ref: Ref | None = None) -> Ref:
        """One reader's gradient by the tensor: a buffer to write it to, or one that holds it and nobody changes."""
        ref = ref or self.panel_ref(tensor.features)
        self._gradients.setdefault(self._sources.get(tensor, tensor), []).append(ref)
        return ref

    def give_share(self, tensor: Tensor, gradient: Ref, share: float) -> None:
        """A loss's gradient by the tensor, times its share in the sum of all losses."""
        self.give(tensor, gradient if share == 1 else self._add(tensor.features, gradient, None, share))

    def _add(self, features: int, first: Ref, second: Ref | None, alpha: float = 1.0) -> Ref:
        """alpha first + second."""
        total = self.panel_ref(features)
        self.emit(
            "add",
            *(read(first), read(second) if second else None, write(total)),
            sizes=(features,),
            scalars=(alpha, 1.0),
            features=features,
        )
        return total

    def same(self, output: Tensor, source: Tensor) -> None:
        """The output is the source under another name: no kernel, one buffer for values, one for gradients."""
        self._sources[output] = self._sources.get(source, source)

    def trains(self, parameter: Parameter) -> bool:
        """Whether the optimizer steps it."""
        return parameter in self._stepped

    def needs_gradient(self, tensor: Tensor) -> bool:
        """Whether something that is trained lies upstream of the tensor."""
        return tensor in self._trained

    def array(self, array: Array) -> Ref:
        """A buffer that lives outside the arena."""
        return self._fixed.setdefault(array.__array_interface__["data"][0], Ref(array=array, panels=False))

    def parameter(self, parameter: Parameter) -> Ref:
        return self.array(parameter.storage)

    def parameter_gradient(self, parameter: Parameter) -> Ref:
        """A buffer laid out as the parameter."""
        return Ref(parameter.storage.nbytes, panels=False)

    def weight_gradient(self, kernel: Parameter, x: Access, dy: Access) -> Ref:
        """The gradient of a matrix (in, out) from x (batch, in) and dy (batch, out)."""
        return self.dense_gradients(kernel, None, x, dy)[0]

    def dense_gradients(self, kernel: Parameter, bias: Parameter | None, x: Access, dy: Access) -> list[Ref]:
        """The gradients of a matrix, and of the bias if there is one."""
        rows, columns = kernel.shape
        parameters = [kernel] if bias is None else [kernel, bias]
        shared = self.axis == _ext.BY_PANEL
        gradients = [self.parameter_gradient(parameter) for parameter in parameters]
        written = [self.partial_gradients(parameter) for parameter in parameters] if shared else gradients
        self.emit(
            "dense_weight_grad",
            *(x, dy, *map(write, written), *([] if bias else [None])),
            sizes=(rows, columns, kernel.storage.size, bias.storage.size if bias else 0),
            features=columns,
            defer=True,
        )
        if shared:
            for parameter, partials, gradient in zip(parameters, written, gradients, strict=True):
                self.sum_partials(parameter, partials, gradient)
        return gradients

    def partial_gradients(self, parameter: Parameter) -> Ref:
        """A buffer laid out as the parameter for each part of the panels."""
        return Ref(self.parts * parameter.storage.nbytes)

    def sum_partials(self, parameter: Parameter, partials: Ref, gradient: Ref) -> None:
        """Append the sum of the parts' gradients."""
        size = parameter.storage.size
        self.emit(
            "sum_partials",
            *(read_all(partials), write(gradient)),
            sizes=(size, self.parts),
            features=size,
            axis=_ext.BY_FEATURE,
            defer=True,
        )

    def feed(self, first: int) -> int:
        """The number of the output's feed, whose first one is given."""
        return first + FEEDS * self.output

    def _gathered(self, feed: int, features: int) -> Ref:
        ref = self.panel_ref(features)
        self.emit("gather", write(ref), sizes=(feed, features), features=features, axis=_ext.BY_PANEL)
        return ref

    def target(self, features: int) -> Ref:
        """The batch's rows of the output's targets, gathered once."""
        if self.output not in self._targets:
            plain = self._targets[self.output] = self._gathered(self.feed(Y_FEED), features)
            if self.mixing:
                self._targets[self.output] = self.panel_ref(features)
                self.mixing.mix(self, plain, self._targets[self.output], features)
        return self._targets[self.output]

    def weight(self) -> Ref:
        """The batch's weights of the output's samples, gathered once."""
        if self.output not in self._weights:
            self._weights[self.output] = self._gathered(self.feed(W_FEED), 1)
        return self._weights[self.output]

    def acts(self, op: Op) -> bool:
        """Whether a random op draws."""
        return self.noisy if op.active is None else op.active

    def stream(self, op: Op) -> int:
        """The number of a random op's stream: its seed, or its place among those of its kind; kinds are far apart."""
        assert op.randomness is not None
        if op.seed is not None:
            return _ext.SEEDED + (op.randomness << 32) + op.seed
        alike = [other for other in self.graph.ops if other.randomness == op.randomness]
        return (op.randomness << 32) + alike.index(op)

    def constant(self, values: Sequence[float]) -> Array:
        """The values as doubles that a kernel can read."""
        array = aligned((len(values),), np.dtype(np.float64))
        array[:] = values
        return array

    def call(self, function: Callable[..., None], *accesses: Access | None, defer: bool = False) -> None:
        """Append a Python function of the accesses' arrays, None where there is none. defer: as for kernels."""
        self.calls.append(Call("", accesses, (), (), _ext.ONCE, 1, defer, function=function))

    def only_consumer(self, tensor: Tensor) -> Op | None:
        """The one op that reads the tensor, or None when there are several, or it is an output."""
        consumers = self.graph.consumers.get(tensor, [])
        return consumers[0] if len(consumers) == 1 and tensor not in self.graph.outputs else None

    def emit(
        self,
        kernel: str,
        *accesses: Access | None,
        sizes: Sequence[int],
        features: int,
        scalars: Sequence[float] = (),
        axis: int | None = None,
        defer: bool = False,
        first: bool = False,
    ) -> None:
        """Append a kernel. `defer` lets it wait until threads meet anyway: nobody is waiting for its result. `first`
        puts it before all others, so that it does not part kernels that one thread runs through without a meeting."""
        axis = self.axis if axis is None else axis
        call = Call(kernel, accesses, tuple(sizes), tuple(scalars), axis, features, defer)
        self.calls.insert(0 if first else len(self.calls), call)

    def slots(self, parameter: Parameter) -> list[Ref | None]:
        """What the optimizer keeps for a parameter, None for what it does not need."""
        assert self.optimizer is not None
        slots = [self.array(slot) for slot in self.optimizer.slots(parameter)]
        return [*slots, *[None] * (_ext.MAX_SLOTS - len(slots))]

    def penalty(self) -> Ref:
        """One double: the sum of all penalties, times the batch."""
        return self.array(self.penalties)

    def add_penalty(self, part: Ref, parts: int) -> None:
        """Append the sum of a penalty's parts, doubles, to all penalties."""
        self.emit(
            "add_parts",
            *(read_all(part), write(self.penalty())),
            sizes=(parts, 0),
            features=1,
            axis=_ext.ONCE,
            defer=True,
        )

    def penalize(self) -> None:
        """Append the penalties of all weights that are trained."""
        for parameter in dict.fromkeys(p for op in self.graph.ops for p in op.parameters):
            if parameter.regularizer and self.trains(parameter):
                parameter.regularizer.penalize(self, parameter)

    def steps_at_once(self, parameters: Sequence[Parameter]) -> bool:
        """Whether their gradients may be used while they are computed: nobody needs all of them first."""
        clips = not self.optimizer or self.optimizer.clipnorm or self.optimizer.global_clipnorm
        own = any(parameter.regularizer and parameter.regularizer.own for parameter in parameters)
        return not clips and not own and not self._shared.intersection(parameters)

    def rule(self, *parameters: Parameter) -> tuple[tuple[int, int], tuple[float, ...]]:
        """The optimizer's rule by number and whether it comes with more than the rule; and their scalars."""
        assert self.optimizer is not None
        scalars = tuple(self.optimizer.scalars())
        own = [number for p in parameters for number in (self.optimizer.decay(p), *_strengths(p))]
        limit = self.optimizer.clipvalue or self.optimizer.clipnorm or self.optimizer.global_clipnorm or math.inf
        tame = limit < math.inf or any(own)
        return (_ext.RULES[self.optimizer.rule][0], int(tame)), (*scalars, *[0.0] * (4 - len(scalars)), limit, *own)

    def train(self, parameter: Parameter, gradient: Ref) -> None:
        """Append the optimizer's step on a parameter, once all who read it have given their gradients."""
        assert self.optimizer is not None
        self._left[parameter] -= 1
        if (partial := self._partial.pop(parameter, None)) is not None:
            size = parameter.storage.size
            accesses = read(gradient), write(partial)
            self.emit("add_weights", *accesses, sizes=(), features=size, axis=_ext.BY_FEATURE, defer=True)
            gradient = partial
        if self._left[parameter]:
            self._partial[parameter] = gradient
            return
        if parameter.regularizer:
            parameter.regularizer.add_gradient(self, parameter, gradient)
        squares = None
        if self.optimizer.clipnorm or self.optimizer.global_clipnorm:
            squares = self._sum_squares(parameter, gradient)
        if self.optimizer.global_clipnorm:
            self._waiting.append((parameter, gradient))
        else:
            self._step(parameter, gradient, squares)

    def finish(self) -> None:
        """Append what had to wait for all gradients."""
        for parameter, gradient in self._waiting:
            self._step(parameter, gradient, self._squares)

    def _step(self, parameter: Parameter, gradient: Ref, squares: Ref | None) -> None:
        numbers, scalars = self.rule(parameter)
        self.emit(
            "optimizer_step",
            write(self.parameter(parameter)),
            read(gradient),
            *(write(slot) if slot else None for slot in self.slots(parameter)),
            read_all(squares) if squares else None,
            sizes=(parameter.rows, *numbers),
            scalars=scalars,
            features=parameter.shape[-1],
            axis=_ext.BY_FEATURE,
            defer=True,
        )
        self.end_step(parameter)

    def _sum_squares(self, parameter: Parameter, gradient: Ref) -> Ref:
        """The gradient's sum of squares; with global_clipnorm that of all so far."""
        assert self.optimizer is not None
        units, strengths = padded(parameter.shape[-1]) // _ext.UNIT, _strengths(parameter)
        first = self._squares is None or not self.optimizer.global_clipnorm
        if first:
            self._squares = Ref(8, panels=False)
        total, part = self._squares, Ref(units * 8, panels=False)
        assert total is not None
        self.emit(
            "sum_squares",
            *(read(gradient), read(self.parameter(parameter)) if any(strengths) else None, write(part)),
            sizes=(parameter.rows, parameter.shape[-1]),
            scalars=strengths,
            features=parameter.shape[-1],
            axis=_ext.BY_FEATURE,
            defer=True,
        )
        self.emit(
            "add_parts",
            *(read(part), write(total)),
            sizes=(units, int(first)),
            features=1,
            axis=_ext.ONCE,
            defer=True,
        )
        return total

    def end_step(self, parameter: Parameter) -> None:
        """Append what follows a parameter's step: its moving average, if the optimizer keeps one; its constraint."""
        assert self.optimizer is not None
        if self.optimizer.use_ema:
            size = parameter.storage.size
            self.emit(
                "average_weights",
                *(write(self.parameter(parameter)), write(self.array(self.optimizer.average(parameter)))),
                sizes=(size,),
                scalars=(self.optimizer.ema_momentum, self.optimizer.ema_overwrite_frequency or 0),
                features=size,
                axis=_ext.BY_FEATURE,
                defer=True,
            )
        if parameter.constraint:
            parameter.constraint.emit(self, parameter)

    def fuse_relu(self, op: Op) -> Tensor | None:
        """The output of the ReLU that alone reads the op's output: the op's kernel can compute it as well."""
        follower = self.only_consumer(op.output)
        if follower is None or getattr(follower, "kind", "") != "relu":
            return None
        self.fused.add(follower)
        return follower.output

    def fuse_relu_gradient(self, op: Op) -> Op | None:
        """The ReLU whose output only this op reads: the op's backward can pass its gradient on as well."""
        source = op.inputs[0].op
        if getattr(source, "kind", "") != "relu" or source is None or self.only_consumer(op.inputs[0]) is not op:
            return None
        if source in self.done_backward:
            return None
        self.done_backward.add(source)
        return source


class _Nested(threading.local):
    depth = 0  # programs that this thread is in the middle of, and that call Python


_nested = _Nested()


class Program:
    """A compiled graph for one batch size.

    training: batch norm takes the batch's statistics, and losses train `trained`: all that is trainable, if None.
    noisy: dropout and other noise act; as training, if None. `totals` gathers the sums of losses, then metrics.
    recalibrates: batch norm keeps the batch's statistics in place of its moving averages.
    output: write the graph's outputs to the feeds OUT_FEED; each: the first reading's values.
    """

    def __init__(
        self,
        graph: Graph,
        batch: int,
        *,
        training: bool = False,
        noisy: bool | None = None,
        losses: Sequence[Reading] = (),
        metrics: Sequence[Reading] = (),
        optimizer: UpdateRule | None = None,
        trained: Collection[Parameter] | None = None,
        recalibrates: bool = False,
        output: bool = False,
        each: bool = False,
    ) -> None:
        outputs = graph.outputs if output else ()
        learned = Graph(graph.inputs, list(dict.fromkeys([*outputs, *(loss.tensor for loss in losses)])))
        graph = Graph(graph.inputs, list(dict.fromkeys([*learned.outputs, *(metric.tensor for metric in metrics)])))
        build = Builder(graph, batch, training, optimizer, noisy, trained, learned, recalibrates, bool(losses))
        self.batch, self.dtype, self._penalties = batch, build.dtype, build.penalties
        for i, source in enumerate(graph.inputs):
            sizes = X_FEED + FEEDS * i, source.features
            build.emit("gather", write(build.value(source)), sizes=sizes, features=source.features)
        for op in graph.ops:
            op.forward(build)
        readings = [*losses, *metrics]
        self._totals = [aligned((r.terminal.width(r.tensor.features),), np.dtype(np.float64)) for r in readings]
        values = build.panel_ref(1) if each else None
        learns = training and optimizer is not None
        for i, (reading, totals) in enumerate(zip(readings, self._totals, strict=True)):
            build.output = reading.output
            gradient = build.panel_ref(reading.tensor.features) if learns and i < len(losses) else None
            weight = build.weight() if reading.weighted else None
            reading.terminal.emit(build, reading.tensor, totals, gradient, weight, None if i else values)
            if gradient:
                build.give_share(reading.tensor, gradient, reading.share)
        if losses:
            build.penalize()
        if learns:
            for op in reversed(learned.ops):
                if build.needs_gradient(op.output):
                    op.backward(build)
            build.finish()
        for i, tensor in enumerate(outputs):
            self._scatter(build, build.value(tensor), OUT_FEED + FEEDS * i, tensor.features)
        if values:
            self._scatter(build, values, OUT_FEED, 1)
        calls = schedule(build.calls)
        self.arena = place(calls)
        self.phases = calls[-1].phase + 1
        self._program = _ext.Program(batch, self.dtype.itemsize, build.parts)
        self._emit(calls)
        self._calls_python, self._runs = any(call.function for call in calls), False
        item = self.dtype.itemsize
        for i, source in enumerate(graph.inputs):
            self._program.declare_feed(X_FEED + FEEDS * i, source.features * item, False)
        for reading in readings:
            at = FEEDS * reading.output
            if size := reading.terminal.target_bytes(reading.tensor):
                self._program.declare_feed(Y_FEED + at, size, False)
            if reading.weighted:
                self._program.declare_feed(W_FEED + at, item, False)
        for i, tensor in enumerate(outputs):
            self._program.declare_feed(OUT_FEED + FEEDS * i, tensor.features * item, True)
        if values:
            self._program.declare_feed(OUT_FEED, item, True)
        self.flops = graph.flops * batch * (3 if training else 1)

    @staticmethod
    def _scatter(build: Builder, ref: Ref, feed: int, features: int) -> None:
        build.emit("scatter", read(ref), sizes=(feed, features), features=features)

    def _emit(self, calls: list[Call]) -> None:
        phase = 0
        for call in calls:
            arrays = [access.ref.array if access else None for access in call.accesses]
            barrier, phase = call.phase != phase, call.phase
            if call.function:
                self._program.emit_call(partial(call.function, *arrays), barrier)
            else:
                self._program.emit(call.kernel, arrays, call.sizes, call.scalars, call.axis, call.features, barrier)

    def run(
        self,
        feeds: dict[int, Array],
        *,
        start: int = 0,
        steps: int = 1,
        index: Array | None = None,
        rates: Array | None = None,
        step: int = 0,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        """Run `steps` batches from row `start` of the feeds (or of `index` into them), in one call without the GIL.

        RecursionError if a function of one's own, which it calls, runs it or many others in turn.
        """
        if not self._calls_python:
            self._program.run(feeds, start, steps, index, rates, step, seed, threads)
            return
        if self._runs or _nested.depth >= MOST_NESTED:
            raise RecursionError(
                "a layer, loss or metric of your own calls a model that calls it again: it must not run the model that "
                "it belongs to"
            )
        self._runs, _nested.depth = True, _nested.depth + 1
        try:
            self._program.run(feeds, start, steps, index, rates, step, seed, threads)
        finally:
            self._runs, _nested.depth = False, _nested.depth - 1

    @property
    def steps_done(self) -> int:
        """Of the last run: all, unless a function of one's own raised an error."""
        return self._program.steps_done

    @property
    def totals(self) -> list[Array]:
        """The sums since `reset`, of each terminal: loss first, then the metrics."""
        return [totals.copy() for totals in self._totals]

    @property
    def penalties(self) -> float:
        """The sum since `reset` of all penalties on weights and activities, times the batch: part of the loss."""
        return float(self._penalties[0])

    def reset(self) -> None:
        """Begin a pass over the data: forget the sums."""
        for totals in (*self._totals, self._penalties):
            totals[:] = 0
