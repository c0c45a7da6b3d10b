"""Where a pass takes its rows from: arrays that are all there, or batches that arrive one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastdl.base import arrays
from fastdl.base.arguments import real, whole
from fastdl.base.arrays import Array
from fastdl.compiler.feeds import X_FEED
from fastdl.compiler.program import Program
from fastdl.errors import DataError, DataWarning, warn
from fastdl.models import ahead
from fastdl.models.callback_list import CallbackList
from fastdl.models.engine import Slice
from fastdl.models.feeding import Feeds
from fastdl.models.pace import SLICE_SECONDS
from fastdl.models.py_dataset import PyDataset, batches_of
from fastdl.models.session import PREDICT_BATCH, Session

JOINED = 64  # batches at most that are drawn before the first of them is used
Chunk = tuple[Slice, "Feeds", Array | None]  # what to run, on which feeds, in which order of their rows
END = object()


@dataclass(frozen=True)
class Pass:
    """How fit or evaluate was called, for whatever it reads."""

    session: Session
    batch_size: int | None = None
    check: bool = True
    class_weight: Mapping[int, float] | None = None
    shuffle: bool = False
    training: bool = False

    def inputs(self, x: Any, what: str) -> Feeds:
        """x, checked; in training the columns of frames are remembered."""
        return self.session.feeding.inputs(x, self.check, what, self.training)

    def feeds(self, inputs: Feeds, y: Any, sample_weight: Any, what: str) -> Feeds:
        return self.session.feeds(inputs, y, sample_weight, self.check, self.class_weight, what)

    def order(self, number: int, rows: int) -> Array:
        """A pass's order. Of the seed and its number alone, so that a training that goes on tomorrow shuffles as it
        would have today."""
        return np.random.default_rng((self.session.seed or 0, number)).permutation(rows)

    def executed(self, steps: int | None) -> int | None:
        """How many batches so many steps take: whole executions, as in Keras."""
        each = self.session.steps_per_execution
        return None if steps is None else -(-steps // each) * each

    @property
    def iterations(self) -> int:
        """Steps trained so far."""
        assert self.session.optimizer is not None
        return self.session.optimizer.batches


class Rows:
    """Arrays, checked. An epoch takes all rows; or `steps` batches, the next of a pass that ends with the last row.

    Keras's counts: of 5 batches, 4 steps an epoch are 4, 1, 4, 1, … batches, and 7 are 5, with a DataWarning where
    there are fewer. Without a batch_size, it is what makes so many steps of all rows.
    """

    def __init__(self, how: Pass, feeds: Feeds, steps: int | None = None) -> None:
        self.how, self.feeds, self._limit = how, feeds, steps
        self.rows = len(feeds[X_FEED])
        self._batch = batch_size(how.batch_size, self.rows, steps)
        self._batches = -(-self.rows // self._batch)
        self.steps = steps or self._batches

    def train(self, epoch: int, most: int | None) -> Iterator[Chunk]:
        """An epoch of training, in slices of at most so many steps. epoch: how many came before in this fit."""
        taken = self.how.executed(self._limit) or self._batches
        first = epoch % -(-self._batches // taken) * taken  # the batches that this pass has given
        count = min(taken, self._batches - first)
        index = self._order(first, count)
        rows = self.rows if index is None else len(index)
        yield from self._slices("train", index, rows, self._batch, most)
        ran_out(count, self._limit)

    def _slices(self, purpose: str, index: Array | None, rows: int, size: int, most: int | None) -> Iterator[Chunk]:
        """So many rows of a pass, in batches of a size; those of memory maps come piece by piece."""
        if not ahead.mapped(self.feeds):
            for slice_ in self.how.session.slices(purpose, self.feeds, size, most, rows):
                yield slice_, self.feeds, index
            return
        met = set[Program]()
        for piece, order in ahead.pieces(self.feeds, index, rows, size, most, self.how.check):
            steps = max(1, len(piece[X_FEED]) // size)
            first = {feed: array[:size] for feed, array in piece.items()}
            yield self.how.session.slice_like(purpose, first, steps, met), piece, order

    def _order(self, first: int, count: int) -> Array | None:
        """The rows of so many batches of a pass, None for all as they are."""
        how, rows = self.how, self.rows
        part = slice(first * self._batch, min((first + count) * self._batch, rows))
        if how.shuffle and rows > self._batch:  # a single batch holds the same rows in any order
            return how.order(how.iterations - first, rows)[part]
        return np.arange(rows)[part] if count < self._batches else None

    def test(self, most: int | None) -> Iterator[Chunk]:
        """A pass of inference; in batches as given if somebody wants to hear of each."""
        count = min(self.how.executed(self._limit) or self._batches, self._batches)
        rows, by_batch = min(self.rows, count * self._batch), most or self.how.session.compiled()[1].goes_by_batches
        size = self._batch if by_batch else PREDICT_BATCH
        yield from self._slices("test", None, rows, size, most)
        ran_out(count, self._limit)


class Batches:
    """An iterable of batches (x, y) or (x, y, sample_weight), checked as they arrive, some ahead of their use.

    A pass takes all batches of an iterable that can be begun again, or the next `steps` of one that goes on, up to its
    end, with a DataWarning if that comes first; the next pass begins it again. DataError if an iterator holds no more,
    or a batch is not as it should be.
    """

    def __init__(self, how: Pass, value: Any, steps: int | None = None, what: str = "") -> None:
        self.how, self.value, self._limit, self.what = how, value, steps, what
        self.steps: int | None = steps or batches_of(value)
        self._iterator: Iterator[Any] | None = None
        self._first: list[Any] = []  # drawn to look at
        self._drawn = 0  # since the iterable was begun

    def look(self) -> None:
        """Build the model, if it waits for the first batch to state its shape; the first pass begins with it."""
        if _by_number(self.value) and batches_of(self.value) != 0:
            first = self.value[0]
        else:
            first = next(self.draw())
            self._first = [first]
        self.how.inputs(arrays.parts(first)[0], f"{self.what}batch 1's ")

    def draw(self) -> Iterator[Any]:
        """The batches of a pass, as they come."""
        count, most = 0, self.how.executed(self._limit)
        while most is None or count < most:
            batch = self._first.pop() if self._first else self._next(count)
            if batch is END:
                ran_out(count, self._limit)
                return
            count += 1
            yield batch
        if (most_there := batches_of(self.value)) is not None and self._drawn >= most_there:
            self._iterator = None  # known without asking for one more

    def _next(self, count: int) -> Any:
        """The next batch of a pass that has given so many; END at its end."""
        if self._iterator is None:
            self._iterator, self._drawn = self._begin(), 0
        for batch in self._iterator:
            self._drawn += 1
            return batch
        again, drawn = self._iterator is not self.value, self._drawn
        self._iterator = None
        if count:
            return END
        if drawn and again:
            return self._next(count)
        raise DataError(
            f"{self.what}x holds no more batches: an iterator is used up by one pass, so say how many steps one takes, "
            "or pass what begins anew each time it is iterated over"
        )

    def _begin(self) -> Iterator[Any]:
        value, most = self.value, batches_of(self.value)
        if self.how.shuffle and most is not None and _by_number(value):
            order = [int(i) for i in self.how.order(self.how.iterations, most)]
            return value.batches(order) if isinstance(value, PyDataset) else (value[i] for i in order)
        return iter(value) if isinstance(value, PyDataset) else arrays.each_batch(value)

    def train(self, epoch: int, most: int | None) -> Iterator[Chunk]:
        """A pass of training, one step a batch; at most so many come to one slice."""
        if callable(begins := getattr(self.value, "on_epoch_begin", None)):
            begins()
        yield from self._pass("train", most)
        if callable(tell := getattr(self.value, "on_epoch_end", None)):
            tell()  # as Keras's Sequence is told

    def test(self, most: int | None) -> Iterator[Chunk]:
        """A pass of inference, one step a batch, from the first where it can be begun again, as in Keras."""
        if self._iterator is not self.value and not self._first:
            self._iterator = None
        yield from self._pass("test", most)

    def _pass(self, purpose: str, most: int | None) -> Iterator[Chunk]:
        met = set[Program]()
        for joined in self._alike(most or JOINED):
            step = self.how.session.slice_like(purpose, joined[0], len(joined), met)
            feeds = {f: np.concatenate([each[f] for each in joined]) if joined[1:] else joined[0][f] for f in joined[0]}
            yield step, feeds, None

    def _alike(self, most: int) -> Iterator[list[Feeds]]:
        """The batches of a pass, checked; those of one size that arrive within a slice's time together."""
        waiting: list[Feeds] = []
        began = time.perf_counter()
        for number, batch in enumerate(self.draw(), 1):
            feeds = self._feeds(batch, f"{self.what}batch {number}'s ")
            if waiting and (waiting[0].keys() != feeds.keys() or len(waiting[0][X_FEED]) != len(feeds[X_FEED])):
                yield waiting
                waiting = []
            waiting.append(feeds)
            if len(waiting) == most or time.perf_counter() - began > SLICE_SECONDS:
                yield waiting
                waiting, began = [], time.perf_counter()
        if waiting:
            yield waiting

    def _feeds(self, batch: Any, what: str) -> Feeds:
        """A batch, checked."""
        parts = arrays.parts(batch)
        if not 2 <= len(parts) <= 3:
            raise DataError(f"{what}parts must be (x, y) or (x, y, sample_weight), not {len(parts)}")
        inputs = self.how.inputs(parts[0], what)
        return self.how.feeds(inputs, parts[1], parts[2] if len(parts) == 3 else None, what)


Source = Rows | Batches


def source(how: Pass, data: tuple[Any, Any, Any], steps: int | None = None, what: str = "") -> Source:
    """What fit or evaluate takes its rows from: data is (x, y, sample_weight). DataError, ShapeError, ValueError."""
    x, y, sample_weight = data
    if not streams(x, y is None):
        inputs = how.inputs(x, what)
        return Rows(how, how.feeds(inputs, y, sample_weight, what), steps)
    for name, value in {"y": y, "sample_weight": sample_weight, "batch_size": how.batch_size}.items():
        if value is not None and not (what and name == "batch_size"):
            raise DataError(f"{name} must not be given where {what}x is an iterable of batches (x, y[, sample_weight])")
    batches = Batches(how, x, steps, what)
    batches.look()
    return batches


def for_fit(
    how: Pass,
    data: tuple[Any, Any, Any],
    steps: int | None,
    validation_data: Any,
    validation_steps: int | None,
    validation_split: float,
    validation_batch_size: int | None,
) -> tuple[Source, Source | None]:
    """What fit trains on, and what it validates on. DataError, ShapeError, ValueError."""
    steps = checked_steps("steps_per_epoch", steps)
    validation_steps = checked_steps("validation_steps", validation_steps)
    split = 0.0 if validation_split is None else real("validation_split", validation_split)
    if not split < 1:
        raise ValueError(f"validation_split must lie between 0 and 1, not {validation_split}")
    trained_on = source(how, data, steps)
    plain = Pass(how.session, validation_batch_size or how.batch_size, how.check)
    if validation_data is not None:
        listed = isinstance(validation_data, tuple | list) and not streams(validation_data, listed=True)
        if listed and not 2 <= len(validation_data) <= 3:
            raise DataError(
                f"validation_data must be (x, y) or (x, y, sample_weight), not {len(validation_data)} parts"
            )
        validation = (*validation_data, None)[:3] if listed else (validation_data, None, None)
        return trained_on, source(plain, validation, validation_steps, "validation ")
    if not split:
        return trained_on, None
    if not isinstance(trained_on, Rows):
        raise ValueError("validation_split needs all rows at once: give an iterable of batches validation_data")
    first_held_out = int(trained_on.rows * (1 - split))
    if not 0 < first_held_out < trained_on.rows:
        raise DataError(f"validation_split={validation_split} of {trained_on.rows} rows leaves one side empty")
    first, last = (
        {f: array[part] for f, array in trained_on.feeds.items()}
        for part in (slice(first_held_out), slice(first_held_out, None))
    )
    return Rows(how, first, steps), Rows(plain, last, validation_steps)


def predict(session: Session, x: Any, steps: int | None, callbacks: CallbackList, training: bool) -> Any:
    """Predictions for an iterable of batches x, or (x, y) of which y is left out, one after another."""
    batches, predicted = Batches(Pass(session), x, checked_steps("steps", steps)), list[list[Array]]()
    session.model.stop_predicting = False
    callbacks.begin(session.model, verbose=0, epochs=1, steps=batches.steps)
    callbacks.tell("on_predict_begin", {})
    for number, batch in enumerate(batches.draw()):
        callbacks.batch_begins("predict", number)
        feeds = session.feeding.inputs(arrays.parts(batch)[0], False, f"batch {number + 1}'s ")
        outputs = session.predict(feeds, training=training, noisy=training)
        callbacks.batch_ends("predict", number, {"outputs": session.model.answer(outputs)})
        predicted.append(outputs)
        if session.model.stop_predicting:
            break
    callbacks.pass_ends("predict")
    callbacks.tell("on_predict_end", {})
    return session.model.answer([np.concatenate(each) for each in zip(*predicted, strict=True)])


def streams(x: Any, listed: bool = False) -> bool:
    """Whether x is an iterable of batches and no array; a list may be one only where it is `listed` (x, y)."""
    if isinstance(x, list) and listed:
        return all(isinstance(batch, tuple) for batch in x) and arrays.arrive_in_batches(x)
    return not isinstance(x, list | tuple | Mapping) and arrays.arrive_in_batches(x)


def _by_number(value: Any) -> bool:
    """Whether its batches are asked for by number."""
    return isinstance(value, PyDataset) or arrays.is_sequence(value)


def checked_steps(name: str, steps: Any) -> int | None:
    """ValueError unless it is None or a positive integer."""
    return None if steps is None else whole(name, steps)


def validates(frequency: Any) -> Callable[[int], bool]:
    """Whether an epoch, counted from 0, is validated: each one of so many, or those named, counted from 1 (Keras)."""
    if isinstance(frequency, int | np.integer) and not isinstance(frequency, bool):
        each = whole("validation_freq", frequency)
        return lambda epoch: (epoch + 1) % each == 0
    if not isinstance(frequency, list | tuple | set | range):
        raise ValueError(f"validation_freq must be a positive integer, or a list of epochs, not {frequency!r}")
    named = {whole("validation_freq", epoch) for epoch in frequency}
    return lambda epoch: epoch + 1 in named


def batch_size(size: int | None, rows: int, steps: int | None) -> int:
    """The size of batches, as Keras: what was asked for, or what makes so many steps of all rows, or 32."""
    return size or (-(-rows // steps) if steps else 32)


def ran_out(count: int, asked: int | None) -> None:
    """DataWarning if a pass had fewer batches than were asked for."""
    if asked is not None and count < asked:
        warn(
            f"the data ran out after {count} of {asked} batches: the next pass begins with the first again", DataWarning
        )
