"""Session: runs the programs of one model. Whoever computes with a model does it here: fit, evaluate, predict, batch
sources, the learning-rate finder, layer statistics, Monte Carlo. Nobody reads a model's private members."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import numpy as np

from fastdl import config
from fastdl.base import forks, random
from fastdl.base.arrays import Array
from fastdl.compiler.feeds import FEEDS, OUT_FEED, W_FEED, X_FEED, absent_inputs
from fastdl.compiler.graph import Graph, Parameter
from fastdl.compiler.program import Program
from fastdl.compiler.steps import Exchange
from fastdl.metrics import Mean, Metric
from fastdl.models.engine import Engine, Slice, run
from fastdl.models.feeding import Feeding, Feeds, Traced
from fastdl.models.objective import Compiled, CompileMetrics, Objective
from fastdl.models.pace import side_by_side
from fastdl.ops import BatchNorm
from fastdl.optimizers import Optimizer

PREDICT = "predict"  # the purpose of programs that answer as in inference
PREDICT_BATCH = 256  # rows whose activations stay in the second-level cache


class Together(Exchange, Protocol):
    """Processes that train one model together: `sum` adds arrays of all in place, at the end of each pass."""

    def end_epoch(self) -> None: ...
    def sum(self, arrays: Sequence[Array]) -> None: ...


class Session:
    """A model's programs, the lock around them, what it was compiled with, and where its random streams stand.

    trained: what was trainable when it was compiled. lock: held while programs run, and by training as a whole.
    """

    def __init__(self, model: Traced) -> None:
        self.model, self.feeding = model, Feeding(model)
        self.optimizer: Optimizer | None = None
        self.compiled_with: Compiled | None = None
        self.trained: frozenset[Parameter] | None = None
        self.seed: int | None = None
        self.metrics: list[Metric] = []  # as Model.metrics
        self._draws = 0  # batches that were predicted with noise that acts in predictions as well
        self.steps_per_execution = 1  # how many batches callbacks hear of at once
        self._objective: Objective | None = None
        self._begin()

    def _begin(self) -> None:
        """What belongs to this process: compiled programs, and a lock that nobody holds."""
        self._engine, self.lock = Engine(), threading.RLock()
        self._training = self._testing = False
        self._together: Together | None = None
        forks.watch(self)

    def after_fork(self) -> None:
        """In the child: begin anew what another thread was in the middle of."""
        if forks.left_behind(self.lock):
            self._begin()

    def __getstate__(self) -> dict[str, Any]:
        """All but what is made again when it is needed: for pickle and copy.deepcopy."""
        made_again = "_engine", "lock", "_objective", "_training", "_testing", "_together"
        return {name: value for name, value in vars(self).items() if name not in made_again}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._objective = None
        self._begin()

    def forget(self) -> None:
        """The model has changed: its programs, and what they train, are made anew."""
        self._engine.clear()
        self._objective = self.trained = None

    # -- what the model is trained by ---------------------------------------------------------------------

    def compile(self, optimizer: Optimizer, chosen: Compiled) -> None:
        """Train by these from now on."""
        self.optimizer, self.compiled_with = optimizer, chosen
        self.metrics = [Mean(name="loss"), CompileMetrics(self)]
        self.forget()

    def compiled(self) -> tuple[Optimizer, Objective]:
        """The optimizer, and losses and metrics for the model's outputs. RuntimeError if it was not compiled."""
        if self.optimizer is None or self.compiled_with is None:
            raise RuntimeError(f"{self.model.name} is not compiled: call compile(optimizer=…, loss=…) first")
        if self._objective is None:
            graph = self.model.trace()
            self._objective = Objective(self.compiled_with, graph, self.model.output_names, self.model.output_structure)
        return self.optimizer, self._objective

    @property
    def objective(self) -> Objective | None:
        """Losses and metrics, once the model's shape is known and they were needed."""
        return self._objective

    def feeds(
        self, x: Feeds, y: Any, sample_weight: Any = None, check: bool = True, class_weight: Any = None, what: str = ""
    ) -> Feeds:
        """x, which is checked, with targets, and weights if there are any."""
        config.get_num_threads()  # ValueError for a variable that holds no number, before there is anything to lose
        _, objective = self.compiled()
        return self.feeding.with_targets(objective, x, y, sample_weight, check, class_weight, what)

    @contextmanager
    def in_float32(self) -> Iterator[None]:
        """Within a `with`, products are of float32, as in files, whatever the layers' policy."""
        with self.lock:
            before, self._engine = self._engine, Engine()
            try:
                with config.float32_products():
                    yield
            finally:
                self._engine = before

    # -- train and test -----------------------------------------------------------------------------------

    def program(
        self, batch: int, training: bool, weighted: bool = False, absent: frozenset[int] = frozenset()
    ) -> Program:
        """A new program that trains or tests on batches of this size. weighted: its samples have weights; absent: the
        inputs that are missing."""
        optimizer, objective = self.compiled()
        graph = self.model.graph_for(training, absent)
        losses, metrics = objective.readings(graph, weighted, batch)
        if training:  # all of the model's, in its order, whichever the program meets (first)
            found = (*self.model.weights, *graph.parameters)
            trained = self.trained if self.trained is not None else {p for p in found if p.trainable}
            optimizer.build_more(p for p in found if p in trained)
        return Program(
            graph,
            batch,
            training=training,
            losses=losses,
            metrics=metrics,
            optimizer=optimizer if training else None,
            trained=self.trained,
            exchange=self._together if training else None,
        )

    def _purpose(self, purpose: str, feeds: Feeds) -> tuple[str, Callable[[int], Program]]:
        """The programs' name and maker; with weights they are others."""
        weighted = any(feed % FEEDS == W_FEED for feed in feeds)
        shapes = self._objective.target_shapes if self._objective else {}
        absent = absent_inputs(feeds)
        name = purpose + " weighted" * weighted + "".join(f" {i}{shape}" for i, shape in shapes.items())
        return name + _without(absent), lambda batch: self.program(batch, purpose == "train", weighted, absent)

    def slices(
        self, purpose: str, feeds: Feeds, batch: int, most: int | None = None, rows: int | None = None
    ) -> Iterator[Slice]:
        """A pass of "train" or "test" over `rows` rows of the feeds, or all, in slices of at most so many steps."""
        name, make = self._purpose(purpose, feeds)
        return self._engine.slices(name, rows or len(feeds[X_FEED]), batch, make, most)

    def slice_like(self, purpose: str, feeds: Feeds, steps: int, met: set[Program]) -> Slice:
        """So many batches like the feeds, of a pass in which the programs `met` have run."""
        name, make = self._purpose(purpose, feeds)
        return self._engine.some(name, len(feeds[X_FEED]), steps, make, met)

    def train(self, slice_: Slice, feeds: Feeds, index: Array | None) -> None:
        """Run one slice of training, within `exclusive`."""
        optimizer, objective = self.compiled()
        assert self.seed is not None
        objective.begin(feeds, index, slice_.start)
        rates = optimizer.rates(slice_.steps)
        try:
            run(slice_, feeds, index=index, rates=rates, step=optimizer.batches, seed=self.seed)
        finally:
            optimizer.batches += slice_.program.steps_done

    def test(self, slice_: Slice, feeds: Feeds) -> None:
        """Run one slice of a test."""
        _, objective = self.compiled()
        objective.begin(feeds, None, slice_.start)
        run(slice_, feeds)

    def logs(self, programs: Iterable[Program], together: Together | None = None) -> dict[str, Any]:
        """Loss and metrics of a pass. Each program sums its own, so they do not depend on how the pass was sliced.

        together: whose sums are added.
        """
        _, objective = self.compiled()
        passed = list(programs)
        each = [program.totals for program in passed]
        for program, totals in zip(passed, each, strict=True):
            for total, term in zip(totals, objective.terms, strict=False):
                if term.sums:
                    total[0] *= program.batch
        sums: list[Any] = [sum(totals[1:], totals[0]) for totals in zip(*each, strict=True)]
        penalties = sum(program.penalties for program in passed)
        if together:
            counted = objective.counted_by_metrics
            values = [np.array(each, np.float64) for each in (*sums, [penalties], *counted)]
            together.sum(values)
            sums, penalties = values[: len(sums)], float(values[len(sums)][0])
            for variable, value in zip(counted, values[len(sums) + 1 :], strict=True):
                variable.assign(value)
        logs = objective.logs(sums, penalties)
        self.metrics += [Mean(name=name) for name in objective.losses_in_logs[len(self.metrics) - 2 :]]
        rows = float(sums[0][2])
        for tracker in self.metrics:
            if tracker.name in logs and isinstance(tracker, Mean):
                tracker.take(np.array([logs[tracker.name] * rows, rows]), rows)
        return logs

    def ended(self, programs: Iterable[Program], logs: dict[str, Any], trained: bool = False) -> dict[str, Any]:
        """What a pass that has ended tells: its logs, or those of all who train together."""
        if self._together is None:
            return logs
        if trained:
            self._together.end_epoch()
        return self.logs(programs, self._together)

    @contextmanager
    def together(self, others: Together) -> Iterator[None]:
        """Within a `with`, training and tests are those of several processes, of which each has rows of its own."""
        with self.lock:
            before = self._engine, self._together
            self._engine, self._together = Engine(), others
            try:
                yield
            finally:
                self._engine, self._together = before

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Training holds the model: a second fit at once is an error, a predict waits."""
        if self._training or not self.lock.acquire(blocking=False):
            raise RuntimeError(
                f"{self.model.name} is being used by another thread: train one model from one thread at a time"
            )
        self._training = True
        try:
            if self.seed is None:
                self.seed = random.draw_seed()
            with side_by_side():
                yield
        finally:
            self._training = False
            self.lock.release()

    @contextmanager
    def testing(self) -> Iterator[None]:
        """A pass sums in its programs: one within another would take its sums away."""
        if self._testing:
            raise RuntimeError(
                f"{self.model.name} is being evaluated: between its batches it cannot be evaluated again"
            )
        self._testing = True
        try:
            yield
        finally:
            self._testing = False

    @contextmanager
    def trial(self, optimizer: Optimizer) -> Iterator[None]:
        """Train by another optimizer for a while; afterwards programs, seed and optimizer are as before."""
        seed = self.seed
        with self.exclusive():
            before = self.optimizer, self._engine
            self.optimizer, self._engine = optimizer, Engine()  # programs write into their optimizer's slots
            try:
                yield
            finally:
                (self.optimizer, self._engine), self.seed = before, seed

    def recalibrate(self, feeds: Feeds) -> None:
        """Batch norm's moving averages become the statistics of these rows, all of them as one batch."""
        with self.exclusive():
            graph = self.model.graph_for(True)
            self.answers(feeds, graph)
            program = Program(graph, len(feeds[X_FEED]), training=True, noisy=False, recalibrates=True, output=True)
            program.run(feeds, threads=config.get_num_threads())

    # -- predict ------------------------------------------------------------------------------------------

    def predict(self, feeds: Feeds, training: bool = False, noisy: bool = False) -> list[Array]:
        """The outputs. noisy: with the noise of training; training: also with the statistics of the batch."""
        absent, rows = absent_inputs(feeds), len(feeds[X_FEED])
        graph = self.model.graph_for(training or noisy, absent)
        answers = self.answers(feeds, graph)
        purpose, make = self._predicting(graph, training, noisy, absent)
        seed = random.draw_seed() if noisy or graph.always_draws else 0
        whole = training and any(isinstance(op, BatchNorm) and not op.frozen for op in graph.ops)
        with self.lock:
            if (whole or rows <= PREDICT_BATCH) and (program := self._engine.small(purpose, rows, make)):
                program.run(feeds, step=self._next_draws(graph, rows), seed=seed, schedule_step=self._steps_taken)
                if purpose == PREDICT and feeds[X_FEED].shape not in self._engine.ready:
                    known = program, graph.outputs[0].features
                    self._engine.ready[feeds[X_FEED].shape] = known if self._reads_as_is(graph, program) else None
            else:
                first = self._next_draws(graph, rows)
                for slice_ in self._engine.slices(purpose, rows, rows if whole else PREDICT_BATCH, make):
                    step = first + slice_.start // PREDICT_BATCH
                    run(slice_, feeds, step=step, seed=seed, schedule_step=self._steps_taken)
        return answers

    def predict_at_once(self, x: Array) -> Array | None:
        """The same of one array for a model of one output, if it has predicted such rows before, and they are as
        programs read them; else None: `predict` has to look."""
        with self.lock:
            program, width = self._engine.ready.get(x.shape) or (None, 0)
            if program is None or x.dtype is not program.dtype or not x.flags.carray:
                return None
            answer: Array = np.empty((len(x), width), program.dtype)
            program.run({X_FEED: x, OUT_FEED: answer})
        return answer

    def _reads_as_is(self, graph: Graph, program: Program) -> bool:
        """Whether a program needs no more than the one array of rows, and gives the one answer as people get it."""
        if len(graph.inputs) > 1 or len(graph.outputs) > 1 or not self.model.is_plain:
            return False
        if any(len(tensor.shape) != 2 for tensor in (graph.inputs[0], graph.outputs[0])):
            return False
        return not (graph.encodes or graph.always_draws or graph.checks or program.scheduled)

    def predict_slices(
        self, feeds: Feeds, batch: int, most: int | None, training: bool
    ) -> Iterator[tuple[slice, Callable[[], None]]]:
        """Slices of a prediction: their rows, and what computes them, to be called before the next. Hold the lock."""
        absent = absent_inputs(feeds)
        graph = self.model.graph_for(training, absent)
        purpose, make = self._predicting(graph, training, training, absent)
        seed = random.draw_seed() if training or graph.always_draws else 0
        first = self._next_draws(graph, len(feeds[X_FEED]), batch)
        for slice_ in self._engine.slices(purpose, len(feeds[X_FEED]), batch, make, most):
            rows = slice(slice_.start, slice_.start + slice_.steps * slice_.program.batch)
            step = first + slice_.start // batch
            yield rows, partial(run, slice_, feeds, step=step, seed=seed, schedule_step=self._steps_taken)

    def _next_draws(self, graph: Graph, rows: int, batch: int = PREDICT_BATCH) -> int:
        """The number of a prediction's first batch, in the count that noise of a seed of its own goes on by."""
        if not graph.always_draws:
            return 0
        first, self._draws = self._draws, self._draws + -(-rows // batch)
        return first

    @property
    def _steps_taken(self) -> int:
        """Where schedules stand while nothing is trained."""
        return self.optimizer.batches if self.optimizer else 0

    def answers(self, feeds: Feeds, graph: Graph) -> list[Array]:
        """Room for the outputs, which the feeds lead to."""
        rows, answers = len(feeds[X_FEED]), []
        for i, tensor in enumerate(graph.outputs):
            answer: Array = np.empty((rows, *tensor.shape[1:]), self.model.dtype)  # type: ignore[arg-type]
            feeds[OUT_FEED + FEEDS * i] = answer if answer.ndim == 2 else answer.reshape(rows, -1)
            answers.append(answer)
        return answers

    def _predicting(
        self, graph: Graph, training: bool, noisy: bool, absent: frozenset[int]
    ) -> tuple[str, Callable[[int], Program]]:
        purpose = "predict in training" if training else "predict with noise" if noisy else PREDICT
        purpose += _without(absent)
        return purpose, lambda size: Program(graph, size, output=True, training=training, noisy=noisy)


def _without(absent: frozenset[int]) -> str:
    """What the name of a program says of inputs that are missing."""
    return f" without {sorted(absent)}" if absent else ""
