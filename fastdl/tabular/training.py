"""Members of an ensemble: each a net that was trained on some rows and kept from its best epoch on others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from fastdl import config
from fastdl.base import random
from fastdl.base.arrays import Array
from fastdl.errors import ADVICE, FastdlError
from fastdl.models import Model
from fastdl.models.callback import Callback, Logs
from fastdl.tabular import nets
from fastdl.tabular.nets import Inputs
from fastdl.tabular.recipes import CLASSES, Recipe
from fastdl.tabular.scores import LEAST, Score, log_loss

TEMPERATURES = 0.2, 5.0
CALIBRATED_FROM = 50  # held rows


class Diverged(FastdlError):
    """No epoch of a net gave finite answers."""


@dataclass(frozen=True)
class Data:
    """Encoded rows: what a net reads, targets (class numbers, or standardised (rows, outputs)) and weights of rows.

    outputs: classes, or numbers a row. bounds: the least and the greatest target of each output, which answers keep to.
    """

    inputs: Inputs
    x: list[Array]
    targets: Array
    task: str
    outputs: int
    weights: Array | None = None
    bounds: tuple[Array, Array] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def rows(self, rows: Array) -> list[Array]:
        """What a net reads of some rows."""
        return [each[rows] for each in self.x]

    def weights_of(self, rows: Array) -> Array | None:
        return None if self.weights is None else self.weights[rows]


@dataclass(frozen=True)
class Job:
    """A net to train: its recipe, the rows that it learns from, those that choose its epoch, and its seed."""

    recipe: Recipe
    learned: Array
    held: Array
    seed: int


@dataclass
class Member:
    """A trained net. predicted: what it says of the held rows. score: on them, lower is better. learning: an epoch's
    loss and score each."""

    recipe: Recipe
    model: Model
    held: Array
    predicted: Array
    score: float
    best_epoch: int
    learning: dict[str, list[float]]
    seconds: float = 0.0

    def predict(self, x: Sequence[Array]) -> Array:
        """(rows, outputs): probabilities, or standardised numbers."""
        return answers_of(self.model, x)


def answers_of(model: Model, x: Sequence[Array]) -> Array:
    """What a model says of rows that are finite."""
    answers: Array = model.predict(list(x) if len(x) > 1 else x[0])
    return answers


def within(answers: Array, bounds: tuple[Array, Array] | None) -> Array:
    """The answers, none beyond what targets were."""
    return answers if bounds is None else np.clip(answers, *bounds)


class Progressing:
    """What training looks at between epochs: whether to stop, and whom to tell. Safe to share among threads."""

    def __init__(self, deadline: float | None = None, tell: Callable[[Job, int, float], None] | None = None) -> None:
        self.deadline, self._tell, self._stop = deadline, tell, threading.Event()
        self.interrupted = False  # by Ctrl-C

    def stop(self) -> None:
        """Let every net end with the epoch that it is in."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set() or (self.deadline is not None and time.monotonic() > self.deadline)

    def epoch_ended(self, job: Job, epoch: int, score: float) -> None:
        if self._tell is not None:
            self._tell(job, epoch, score)


@dataclass
class _Best(Callback):
    """Keeps the weights of the epoch whose score on held-out rows was lowest: the last one among equals."""

    judged: Callable[[], tuple[Array, float]]
    job: Job
    progress: Progressing
    score: float = float("inf")
    epoch: int = -1
    predicted: Array | None = None
    weights: list[Array] | None = None
    learning: dict[str, list[float]] = field(default_factory=lambda: {"loss": [], "score": []})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        predicted, score = self.judged()
        self.learning["loss"].append(float((logs or {}).get("loss", np.nan)))
        self.learning["score"].append(score)
        if score <= self.score:
            self.score, self.epoch, self.predicted = score, epoch, predicted
            self.weights = self.model.get_weights()
        self.progress.epoch_ended(self.job, epoch, score)
        if self.progress.stopped:
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.weights is not None:
            self.model.set_weights(self.weights)


def train(
    job: Job, data: Data, score: Score, progress: Progressing | None = None, threads: int | None = None
) -> Member:
    """Train one net, on at most so many threads; the bits do not depend on them, nor on what trains beside it."""
    progress = progress or Progressing()
    generator = np.random.default_rng(job.seed)
    with random.replaced(generator), config.thread_limit(threads or config.get_num_threads()):
        return _train(job, data, score, progress)


def _train(job: Job, data: Data, score: Score, progress: Progressing) -> Member:
    began, recipe = time.monotonic(), job.recipe
    x, targets = data.rows(job.learned), data.targets[job.learned]
    if data.task == CLASSES:
        labels, targets = targets, np.zeros((len(targets), data.outputs), np.float32)
        targets[np.arange(len(targets)), labels] = 1
    steps = recipe.epochs * nets.steps_of(len(targets), recipe.batch_size)
    net = nets.make(recipe, data.inputs, data.task, data.outputs, steps)
    nets.prepare(net, recipe, x)
    nets.compile_net(net, recipe, data.task, steps)
    if recipe.members > 1:
        targets = np.repeat(targets[:, None], recipe.members, axis=1)
    held, held_targets, held_weights = data.rows(job.held), data.targets[job.held], data.weights_of(job.held)

    def judged() -> tuple[Array, float]:
        answers = answers_of(net.model, held)
        return answers, score(held_targets, within(answers, data.bounds), held_weights)

    best = _Best(judged, job, progress)
    net.trained.fit(
        x if len(x) > 1 else x[0],
        targets,
        batch_size=nets.even_batch(len(targets), recipe.batch_size),
        epochs=recipe.epochs,
        sample_weight=data.weights_of(job.learned),
        verbose=0,
        callbacks=[best],
        check_input=False,
    )
    if best.predicted is None:
        raise Diverged(f"training diverged in its first epoch: {ADVICE}")
    member = Member(recipe, net.model, job.held, best.predicted, best.score, best.epoch, best.learning)
    if data.task == CLASSES and recipe.members == 1:
        _calibrate(member, held_targets, held_weights)
    member.seconds = time.monotonic() - began
    return member


def _calibrate(member: Member, labels: Array, weights: Array | None) -> None:
    """Divide the net's logits by the temperature that suits the held rows best (Guo et al. 2017): no label changes, and
    the last layer's weights take it over."""
    temperature = best_temperature(labels, member.predicted, weights)
    last = member.model.get_layer("output")
    last.set_weights([weight / temperature for weight in last.get_weights()])
    member.predicted = sharpened(member.predicted, temperature)


def sharpened(probabilities: Array, temperature: float) -> Array:
    """The softmax of the logits over a temperature. (rows, classes)."""
    powers = np.log(np.maximum(probabilities.astype(np.float64), LEAST)) / temperature
    powers = np.exp(powers - powers.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), probabilities.dtype)


def best_temperature(labels: Array, probabilities: Array, weights: Array | None = None) -> float:
    """The temperature of the lowest log-loss, within TEMPERATURES; 1 for rows too few to tell."""
    if len(labels) < CALIBRATED_FROM:
        return 1.0
    low, high = np.log(TEMPERATURES)
    for _ in range(30):  # thirds of the interval: the loss has one valley
        third = (high - low) / 3
        losses = [log_loss(labels, sharpened(probabilities, np.exp(t)), weights) for t in (low + third, high - third)]
        low, high = (low, high - third) if losses[0] <= losses[1] else (low + third, high)
    return float(np.exp((low + high) / 2))
