"""`fit` by all ranks: each on its rows, all to the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastdl.base.arguments import real, whole
from fastdl.callbacks import BackupAndRestore, CSVLogger, ModelCheckpoint, TensorBoard
from fastdl.distributed.exchange import Exchange
from fastdl.distributed.ranks import Ranks
from fastdl.models.callback import Callback, Logs
from fastdl.models.callback_list import CallbackList, Callbacks
from fastdl.models.history import History
from fastdl.models.model import Model

WRITE_FILES = BackupAndRestore, CSVLogger, ModelCheckpoint, TensorBoard


class _Together(Callback):
    """The last callback: training begins with rank 0's model on all, and ends on all after the same epoch."""

    def __init__(self, ranks: Ranks, exchange: Exchange) -> None:
        self._ranks, self._exchange, self._stops = ranks, exchange, False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Rank 0's weights, optimizer and seed; others draw noise and shuffle by seeds of their own."""
        model, session = self.model, self.model.session
        optimizer, objective = session.compiled()
        for term in objective.terms:
            if term.sums:
                raise ValueError(f"{term.loss.name}: reduction='sum' is of one rank's rows; ranks share means")
        assert session.seed is not None
        trained = session.trained
        optimizer.build_more(p for p in model.weights if (p.trainable if trained is None else p in trained))
        parameters = [*model.weights, *optimizer.kept]
        rate = optimizer.rate_or_schedule
        numbers = session.seed, optimizer.batches, model.initial_epoch, None if callable(rate) else rate
        (seed, optimizer.batches, model.initial_epoch, rate), arrays = self._ranks.from_first(
            (numbers, [parameter.numpy() for parameter in parameters])
        )
        session.seed = (seed + self._ranks.rank) % 2**63
        if rate is not None:
            optimizer.learning_rate = rate
        ours, theirs = [p.shape for p in parameters], [array.shape for array in arrays]
        if ours != theirs:
            raise RuntimeError(f"all ranks must make the same model: rank 0's arrays are {theirs}, not {ours}")
        for parameter, array in zip(parameters, arrays, strict=True):
            parameter.assign(array)

    def on_train_slice_end(self, batch: int, logs: Logs | None = None) -> None:
        """What would stop one rank within an epoch stops all at its end: the others wait for its gradients."""
        self._stops |= self.model.stop_training
        self.model.stop_training = False

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        stops = np.array([float(self._stops or self.model.stop_training)])
        self._ranks.sum(stops)
        self.model.stop_training = bool(stops[0])

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._exchange.agree()


def fit(
    model: Model,
    x: Any,
    y: Any = None,
    batch_size: int | None = None,
    epochs: int = 1,
    verbose: int | str = "auto",
    callbacks: Callbacks = None,
    *,
    average_every: int | None = None,
    timeout: float = 300.0,
    **options: Any,
) -> History:
    """As Model.fit, of all ranks at once, each of which calls it with rows of its own (see `shard`): the same History
    and the same weights, to the bit, on each. batch_size is a rank's.

    Gradients of a step become their mean over the rows of all ranks, before clipping and the optimizer's step: 4 ranks
    with batches of 32 train as one process with batches of 128. average_every=n: each rank takes steps of its own, and
    after every n batches, and each epoch, weights become their mean over ranks; the optimizer's slots stay its own.
    Batch norm takes the statistics of a rank's own batch; its moving averages become their mean after each epoch.
    Loss and metrics are those of all ranks' rows, validation's too, whatever rows each has; between batches, a rank's
    own. ModelCheckpoint, BackupAndRestore, CSVLogger and TensorBoard run on rank 0 alone, all other callbacks on each.

    Training begins with rank 0's weights, optimizer and seed. Whatever a rank raises ends all, by MPI's Abort, with
    that error on stderr; one that hangs does so after `timeout` seconds. ImportError without mpi4py.
    """
    ranks = Ranks(real("timeout", timeout))
    try:
        every = None if average_every is None else whole("average_every", average_every)
        _refuse(model, every)
        exchange = Exchange(ranks, model, every)
        chosen = list(_of_this_rank(callbacks, ranks.rank))
        chosen.append(_Together(ranks, exchange))
        said = verbose if ranks.rank == 0 else 0
        with model.session.together(exchange):
            return model.fit(x, y, batch_size, epochs, said, chosen, **options)
    except BaseException as error:
        if ranks.size == 1:
            raise
        ranks.abort(error)


def _of_this_rank(callbacks: Callbacks, rank: int) -> Iterator[Callback]:
    for callback in CallbackList(callbacks).callbacks:
        if rank == 0 or not isinstance(callback, WRITE_FILES):
            yield callback


def _refuse(model: Model, average_every: int | None) -> None:
    """RuntimeError, ValueError for what several ranks cannot do as one."""
    optimizer = model.optimizer
    if optimizer is None:
        raise RuntimeError(f"{model.name} is not compiled: call compile(optimizer=…, loss=…) first")
    if average_every is not None and optimizer.use_ema:
        raise ValueError("average_every averages weights over ranks, use_ema over steps: choose one of them")
