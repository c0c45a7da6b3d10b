"""What a model is trained and judged by: a loss for each output, its share in their sum, and metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from fastdl import metrics, tree
from fastdl.base.arrays import Array
from fastdl.base.naming import free_name
from fastdl.compiler.feeds import FEEDS, Y_FEED
from fastdl.compiler.graph import Graph, Parameter, Shape, Tensor
from fastdl.compiler.program import Reading, Terminal
from fastdl.errors import ShapeError
from fastdl.losses import Loss
from fastdl.metrics import MeanMetricWrapper, Metric, Variable
from fastdl.metrics.counting import Counting, Targets, merged
from fastdl.models.terms import terms
from fastdl.ops.terminal import Values, as_value, targets_of


@dataclass(frozen=True)
class Compiled:
    """What `compile` was given: each for all outputs at once, a list with one for each, or a mapping by their names."""

    loss: Any
    loss_weights: Any = None
    metrics: Any = None
    weighted_metrics: Any = None


@dataclass(frozen=True)
class Measured:
    """A metric of one output."""

    metric: Metric
    output: int
    weighted: bool
    name: str  # in logs
    counts_itself: bool = False
    targets: Targets = field(default_factory=Targets)


class Objective:
    """What was chosen, for a graph whose outputs have these names. ValueError if it does not fit them."""

    def __init__(self, chosen: Compiled, graph: Graph, names: Sequence[str], structure: Any) -> None:
        """structure: of the outputs, with their numbers."""
        self.names, self._added = names, len(graph.added)  # what layers add to the loss
        self.target_shapes: dict[int, Shape] = {}  # of outputs whose loss takes targets of another shape than theirs
        self.samples: dict[int, tuple[int, ...]] = {}  # of outputs, the shape of a row of targets as it was given
        self.terms = terms(chosen.loss, chosen.loss_weights, structure, names)
        if not self.terms and not graph.added:
            raise ValueError(
                "compile needs a loss, e.g. loss='sparse_categorical_crossentropy', for one output at least, or a "
                "layer that calls add_loss"
            )
        for loss in (term.loss for term in self.terms):
            if loss.reduction in (None, "none"):
                raise ValueError(
                    f"{loss.name} must be one number to be trained by: reduction={loss.reduction!r} gives one a sample"
                )
        self.losses = [self._loss_of(i) for i in range(len(names))]
        self._taken = {"loss", *self.losses_in_logs}
        self.measured = [
            measured
            for what, of, weighted in (
                ("metrics", chosen.metrics, False),
                ("weighted_metrics", chosen.weighted_metrics, True),
            )
            for i, each in enumerate(by_output(what, of, names, structure, several=True))
            for measured in self._measures(i, each, weighted, graph)
        ]

    def _loss_of(self, output: int) -> Loss | None:
        """The loss that says what the output's targets are: one of it alone, if there is one. ValueError if losses of
        it take other targets."""
        of_it = [term for term in self.terms if output in term.outputs]
        alone = [term.loss for term in of_it if not term.joint] or [term.loss for term in of_it]
        if len({loss.sparse for loss in alone}) > 1:
            raise ValueError(f"{alone[0].name} and {alone[1].name} of one output take other targets: labels, and rows")
        return alone[0] if alone else None

    def _measures(self, output: int, chosen: Any, weighted: bool, graph: Graph) -> list[Measured]:
        measures = []
        for metric in listed(chosen):
            loss = self.losses[output]
            if loss is None:
                raise ValueError(
                    f"output {self.names[output]!r} has metrics, but no loss that says what its targets are"
                )
            made = metrics.metric_for(metric, loss, graph.outputs[output])
            name = f"{self.names[output]}_{made.name}" if len(self.names) > 1 else made.name
            if weighted and name in self._taken:  # as Keras's: a_weighted_mse
                name = f"{self.names[output]}_weighted_{made.name}" if len(self.names) > 1 else f"weighted_{name}"
            name = free_name(name, self._taken)  # as Keras's: auc, auc_1, ...
            self._taken.add(name)
            on_labels = loss.sparse and isinstance(made, MeanMetricWrapper)
            measures.append(Measured(made, output, weighted, name, made.counts_itself or on_labels))
        return measures

    @property
    def metrics(self) -> list[Metric]:
        return [measured.metric for measured in self.measured]

    @property
    def first(self) -> list[str]:
        """The names in logs that come first where these are a list, in order: Keras's."""
        return ["loss", *(metric.name for metric in self.metrics), *self.losses_in_logs]

    @property
    def losses_in_logs(self) -> list[str]:
        """The names of the terms of the loss, if there are several."""
        return [f"{term.name}_loss" for term in self.terms] if len(self.terms) > 1 else []

    def results(self) -> dict[str, Any]:
        """What the metrics make of what they have counted so far."""
        logs: dict[str, Any] = {}
        for each in self.measured:
            merged(logs, each.name, each.metric.result())
        return logs

    @property
    def counted_by_metrics(self) -> list[Variable | Parameter]:
        """What metrics that count themselves have counted, which no program has."""
        return [variable for each in self.measured if each.counts_itself for variable in each.metric.variables]

    @property
    def goes_by_batches(self) -> bool:
        """Whether it matters how rows are cut into batches: for metrics called with each, losses that are sums or
        of batches as a whole."""
        by_batch = any(term.sums or term.loss.whole_batch for term in self.terms)
        return by_batch or any(each.counts_itself for each in self.measured)

    def reset(self) -> None:
        """A pass begins: metrics forget what they have counted."""
        for metric in self.metrics:
            metric.reset_state()

    def begin(self, feeds: Mapping[int, Array], index: Array | None, start: int) -> None:
        """A slice begins at this row of the feeds, or of the index into them."""
        for each in self.measured:
            if each.counts_itself:
                labels = feeds.get(Y_FEED + FEEDS * each.output)
                each.targets.begin(self.samples.get(each.output, ()), labels, index, start)

    @property
    def outputs(self) -> list[int]:
        """Those that have targets."""
        return [i for i, loss in enumerate(self.losses) if loss is not None]

    def readings(self, graph: Graph, weighted: bool, batch: int) -> tuple[list[Reading], list[Reading]]:
        """What a program of such batches reads for losses and for metrics. weighted: samples have weights.

        ValueError for a loss that divides by the weights of a batch.
        """
        for loss in (term.loss for term in self.terms):
            if weighted and loss.reduction == "mean_with_sample_weight":
                raise ValueError(
                    f"{loss.name}: reduction='mean_with_sample_weight' is for arrays: in training divide the "
                    "weights by their mean, which is the same for batches alike"
                )
        terminal: Terminal
        losses, read = list[Reading](), dict[int, Tensor]()
        for term in self.terms:
            tensor, terminal = term.attach(graph, self.target_shapes)
            losses.append(
                Reading(terminal, tensor, term.outputs[0], weighted, term.share * (batch if term.sums else 1))
            )
            if not term.joint:
                read.setdefault(term.structure, tensor)
        losses += [Reading(Values(), as_value(tensor)) for tensor in graph.added]
        self._added = len(graph.added)
        metrics: list[Reading] = []
        for each in self.measured:
            output, of_it = graph.outputs[each.output], self.losses[each.output]
            if each.counts_itself:
                terminal, tensor = Counting(each.metric, each.targets, bool(of_it and of_it.sparse)), output
            else:
                with targets_of(self.target_shapes.get(each.output)):
                    terminal, tensor = each.metric.attach(output, read.get(each.output, output))
            metrics.append(Reading(terminal, tensor, each.output, weighted and each.weighted))
        self._refuse_other_targets([*losses, *metrics])
        return losses, metrics

    def _refuse_other_targets(self, readings: Sequence[Reading]) -> None:
        """ShapeError for a loss or metric that takes other targets than those that were given."""
        for reading in readings:
            shape, tensor = self.target_shapes.get(reading.output), reading.tensor
            size = reading.terminal.target_bytes(tensor)
            if shape and size not in (0, Tensor(shape, tensor.dtype).features * tensor.dtype.itemsize):
                raise ShapeError(
                    f"y of {self.names[reading.output]!r} has shape {('rows', *shape[1:])}; a metric, or a loss that "
                    f"computes by numpy, takes targets of the output's shape, {('rows', *tensor.shape[1:])}"
                )

    def logs(self, totals: Sequence[Array], penalties: float) -> dict[str, Any]:
        """Loss, the outputs' own losses if there are several, and metrics, of the sums that programs gathered.

        penalties: those of weights and activities, times the batches' sizes; they are part of the loss.
        """
        count = len(self.terms) + self._added
        values = [float(total / rows) for total, _, rows in totals[:count]]
        shares = [*(term.share for term in self.terms), *[1.0] * self._added]
        loss = values[0] * shares[0]
        for value, share in zip(values[1:], shares[1:], strict=True):
            loss += value * share
        logs: dict[str, Any] = {"loss": loss + penalties / float(totals[0][2])}
        logs |= dict(zip(self.losses_in_logs, values, strict=False))
        for each, total in zip(self.measured, totals[count:], strict=True):
            if not each.counts_itself:
                each.metric.take(total, float(totals[0][2]))
        return logs | self.results()


class Judged(Protocol):
    """What has metrics once a model's shape is known."""

    @property
    def objective(self) -> Objective | None: ...


class CompileMetrics(Metric):
    """The metrics that a model was compiled with, as one (Keras)."""

    nameable = False
    default_name = "compile_metrics"

    def __init__(self, judged: Judged) -> None:
        super().__init__()
        self._judged = judged

    @property
    def metrics(self) -> list[Metric]:
        """Each of them, once the model's shape is known and they were needed."""
        return self._judged.objective.metrics if self._judged.objective else []

    @property
    def variables(self) -> list[Variable | Parameter]:
        return [variable for metric in self.metrics for variable in metric.variables]

    def result(self) -> dict[str, Any]:
        """Their results, by name as in logs."""
        return self._judged.objective.results() if self._judged.objective else {}

    def reset_state(self) -> None:
        if self._judged.objective:
            self._judged.objective.reset()


def listed(chosen: Any) -> list[Any]:
    """One, several, or none."""
    if chosen is None:
        return []
    return list(chosen) if isinstance(chosen, Sequence) and not isinstance(chosen, str) else [chosen]


def by_output(what: str, chosen: Any, names: Sequence[str], structure: Any, several: bool = False) -> list[Any]:
    """What was given, output by output. several: a list belongs to the output, if there is but one.

    In the structure of the outputs, with their numbers, or by their names, or one for all. ValueError.
    """
    if any(len(path) > 1 for path, _ in tree.flatten_with_path(structure)) and tree.is_nested(chosen):
        found: list[Any] = []  # in the order of the outputs, as leaves are looked at
        try:
            tree.map_structure_up_to(tree.lists_to_tuples(structure), found.append, tree.lists_to_tuples(chosen))
        except ValueError as error:
            raise ValueError(f"{what} must be in the structure of the outputs: {error}") from None
        return found
    if isinstance(chosen, Mapping):
        if unknown := set(chosen) - set(names):
            raise ValueError(f"{what} names {sorted(unknown)[0]!r}: the outputs are {', '.join(names)}")
        return [chosen.get(name) for name in names]
    if isinstance(chosen, list | tuple) and not (several and len(names) == 1):
        if len(chosen) != len(names):
            raise ValueError(f"{what} has {len(chosen)} entries, the model {len(names)} outputs: {', '.join(names)}")
        return list(chosen)
    return [chosen] * len(names)


def mapped(function: Callable[[Any], Any], chosen: Any) -> Any:
    """The function of each entry of what may be one, or a structure, as JSON can hold it: tuples are told from lists,
    which say another thing of the same outputs (see terms). None stays."""
    if isinstance(chosen, Mapping):
        return {name: mapped(function, each) for name, each in chosen.items()}
    if isinstance(chosen, list | tuple):
        parts = [mapped(function, each) for each in chosen]
        return parts if isinstance(chosen, list) else {"tuple": parts}
    return None if chosen is None else function(chosen)
