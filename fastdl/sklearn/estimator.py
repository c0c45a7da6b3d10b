"""What classifiers and regressors have in common: the net, its training, and when it stops."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted, validate_data

from fastdl import config, layers, optimizers
from fastdl.base import random
from fastdl.base.arguments import whole
from fastdl.base.arrays import Array
from fastdl.callbacks import EarlyStopping
from fastdl.errors import ADVICE
from fastdl.models import Model, Sequential, loading, saving
from fastdl.models.divergence import Divergence, first_not_finite
from fastdl.optimizers import Optimizer

if TYPE_CHECKING:
    from fastdl.fusion import FusionReport

INITIALIZERS = {"selu": "lecun_normal", "relu": "he_normal", "leaky_relu": "he_normal", "elu": "he_normal"}
STEPS = 2000  # of training, if nobody says how many epochs …
LEAST_EPOCHS, MOST_EPOCHS = 30, 1000  # … but so many epochs
PATIENCE = 30  # epochs, where rows are held back to say when to stop …
HELD_FROM = 1000  # … which costs more than it gives where there are fewer


class Estimator(BaseEstimator):  # type: ignore[misc]
    """Base. A subclass says what the last layer is, which loss goes with it, and what targets are."""

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (100,),
        activation: str = "relu",
        *,
        optimizer: str | Optimizer = "adam",
        learning_rate: float | None = None,
        weight_decay: float | None = 0.5,
        batch_norm: bool = False,
        dropout: float = 0.3,
        epochs: int | None = None,
        batch_size: int = 32,
        patience: int | str | None = "auto",
        validation_fraction: float = 0.1,
        scale: bool = True,
        warm_start: bool = False,
        model: Callable[[int, int], Model] | None = None,
        loss: Any = None,
        callbacks: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_norm = batch_norm
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.scale = scale
        self.warm_start = warm_start
        self.model = model
        self.loss = loss
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose

    # -- the model ----------------------------------------------------------------------------------------

    def _network(self, x: Array, outputs: int, weights: Array | None) -> Model:
        """The model, not compiled: what `model` makes, or scaling of what x is like, hidden layers and the last."""
        features = x.shape[1]
        if self.model is not None:
            return self.model(features, outputs)
        made: list[Any] = [layers.Input((features,))]
        if self.scale:
            made.append(layers.Normalization(-1, *moments(x, weights)))
        initializer = INITIALIZERS.get(self.activation, "glorot_uniform")
        noise = layers.AlphaDropout if self.activation == "selu" else layers.Dropout
        for units in np.atleast_1d(self.hidden_layer_sizes):
            made.append(layers.Dense(int(units), use_bias=not self.batch_norm, kernel_initializer=initializer))
            made += [layers.BatchNormalization()] if self.batch_norm else []
            made.append(layers.Activation(self.activation))
            made += [noise(self.dropout)] if self.dropout else []
        return Sequential([*made, layers.Dense(outputs, activation=self._last())])

    def _chosen_optimizer(self) -> Optimizer:
        chosen = optimizers.get(self.optimizer).fresh()
        if self.learning_rate is not None:
            chosen.learning_rate = self.learning_rate
        if self.weight_decay is not None:
            chosen = type(chosen).from_config({**chosen.get_config(), "weight_decay": self.weight_decay})
        return chosen

    def _last(self) -> str | None:
        raise NotImplementedError

    def _loss(self) -> Any:
        raise NotImplementedError

    def _finished(self, trained: Model) -> Model:
        """What people are given: the trained model, in the units of y."""
        return trained

    # -- training -----------------------------------------------------------------------------------------

    def _train(
        self,
        x: Array,
        targets: Array,
        outputs: int,
        weights: Array | None,
        more: bool = False,
        judges: tuple[Array, Array] | None = None,
    ) -> Self:
        """Train, a new model, or with warm_start or `more` the one there is; `more`: one pass, over all rows.

        judges: rows that say when to stop, in place of some that are held back.
        """
        again = (more or self.warm_start) and hasattr(self, "_trained")
        state = None if self.random_state is None else check_random_state(self.random_state)
        with _drawn_from(state) as generator:
            patience = PATIENCE if judges and self.patience == "auto" else None if more else self._patience(len(x))
            share = None if patience is None or judges else self.validation_fraction
            held = _held(generator, targets, share)
            kept = np.setdiff1d(np.arange(len(x)), held)
            if not again:
                given = None if weights is None else weights[kept]
                self._trained = self._network(x[kept], outputs, given)
                self._learn_units(targets[kept], given)
                if self._trained.optimizer is None:
                    self._trained.compile(self._chosen_optimizer(), self.loss or self._loss())
                self._trained.session.seed = int(generator.integers(2**63))
        targets = self._in_units(targets)
        parts = [(x[rows], targets[rows], None if weights is None else weights[rows]) for rows in (kept, held)]
        validation: Any = parts[1] if len(held) else None
        if judges:
            validation = (judges[0], self._in_units(judges[1]), None)
        heard = [Divergence(ConvergenceWarning), *([] if self.callbacks is None else self.callbacks)]
        if validation and patience is not None:
            heard.append(EarlyStopping(patience=patience, restore_best_weights=True))
        history = self._trained.fit(
            *parts[0][:2],
            batch_size=self.batch_size,
            epochs=1 if more else self._epochs(len(kept)),
            verbose=self.verbose,
            callbacks=heard,
            validation_data=validation,
            sample_weight=parts[0][2],
        )
        self.history_, self.n_iter_ = history, len(history.epoch)
        self._finish()
        return self

    def _judges(self, eval_set: Any, targets_of: Callable[[Any], Array]) -> tuple[Array, Array] | None:
        """X and targets of eval_set, (X, y) or a list of one such. ValueError for all else."""
        if eval_set is None:
            return None
        pair = eval_set[0] if isinstance(eval_set, list) and len(eval_set) == 1 else eval_set
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError("eval_set must be a pair (X, y)")
        x = validate_data(self, pair[0], dtype=self._dtype(), reset=False)
        targets = targets_of(pair[1])
        check_consistent_length(x, targets)
        return x, targets

    def _finish(self) -> None:
        """Make model_ of what was trained."""
        self.model_ = self._finished(self._trained)
        names = getattr(self, "feature_names_in_", None)
        self.model_.feature_names = None if names is None else [str(name) for name in names]

    # -- copies and files ---------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """The model as the bytes of its file, so that skops finds nothing but plain types; as itself if it has layers
        or functions of one's own."""
        state: dict[str, Any] = super().__getstate__()
        if "_trained" in state:
            with suppress(ValueError):
                state = {**state, "_trained": saving.dumps(state["_trained"])}
                del state["model_"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if isinstance(state.get("_trained"), bytes):
            self._trained = loading.loads(state["_trained"], f"the state of a {type(self).__name__}")
            self._finish()

    def _patience(self, rows: int) -> int | None:
        """After how many epochs without a better one training ends; None: rows are too few to hold some back."""
        if self.patience == "auto":
            return PATIENCE if rows >= HELD_FROM else None
        return None if self.patience is None else whole("patience", self.patience, 0)

    def _epochs(self, rows: int) -> int:
        """At most so many: as given, or such that there are STEPS steps, which small data need many epochs for."""
        if self.epochs is not None:
            return self.epochs
        return min(MOST_EPOCHS, max(LEAST_EPOCHS, -(-STEPS * self.batch_size // rows)))

    def _learn_units(self, targets: Array, weights: Array | None) -> None:
        """Note what targets are like, if they are to be scaled."""

    def _in_units(self, targets: Array) -> Array:
        """The targets as the model is trained on them."""
        return targets

    def _fresh(self, more: bool) -> bool:
        """Whether training begins anew, with columns and classes of its own."""
        return not ((more or self.warm_start) and hasattr(self, "_trained"))

    # -- answers ------------------------------------------------------------------------------------------

    def _raw(self, x: Any) -> Array:
        """The model's outputs, in x's dtype. ValueError if training diverged: NaN is no answer."""
        check_is_fitted(self)
        x = validate_data(self, x, dtype=self._dtype(), reset=False)
        answer: Array = self.model_.predict(x).astype(x.dtype, copy=False)
        if not np.isfinite(answer).all():
            cause = first_not_finite(self.model_.weights) or "its outputs are no finite numbers"
            raise ValueError(f"this {type(self).__name__} cannot predict: {cause}; fit it anew, and {ADVICE}")
        return answer

    def export(self, path: str | os.PathLike[str], *, fuse: bool = True, verify: Any = None) -> FusionReport:
        """Write model_ as ONNX, with the names of features and classes: see Model.export. It takes X as it is."""
        check_is_fitted(self)
        return self.model_.export(os.fspath(path), fuse=fuse, verify=verify)

    @staticmethod
    def _dtype() -> list[Any]:
        """What arrays may stay; others become the first."""
        return [np.float64, np.float32] if config.floatx() == "float64" else [np.float32, np.float64]

    def _weights(self, sample_weight: Any, x: Array) -> Array | None:
        return None if sample_weight is None else _check_sample_weight(sample_weight, x, dtype=x.dtype)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.non_deterministic = self.random_state is None
        return tags


def moments(values: Array, weights: Array | None) -> tuple[Array, Array]:
    """Mean and variance of each column, weighted; a column that does not vary has variance 1, and stays as it is."""
    values = values.astype(np.float64)
    if weights is not None and not weights.sum() > 0:
        weights = None
    mean = np.average(values, axis=0, weights=weights)
    variance = np.average((values - mean) ** 2, axis=0, weights=weights)
    flat = variance <= (1e-6 * np.abs(mean)) ** 2
    return mean, np.where(flat | (variance < np.finfo(np.float32).tiny), 1.0, variance)


def _held(generator: np.random.Generator, targets: Array, share: float | None) -> Array:
    """The rows that say when to stop: evenly from the lowest target, or class, to the highest, among equals at random.

    None without a share, and never all of a class.
    """
    if share is None:
        return np.zeros(0, np.int64)
    if not isinstance(share, int | float | np.number) or not 0 < share < 1:
        raise ValueError(f"validation_fraction must lie between 0 and 1, not {share!r}")
    order = generator.permutation(len(targets))
    first = targets.reshape(len(targets), -1)[:, 0]
    order = order[np.argsort(first[order], kind="stable")]
    count = min(max(1, round(share * len(order))), len(order) - 1)
    rows = order[((np.arange(count) + 0.5) / count * len(order)).astype(np.int64)]
    if targets.dtype.kind != "i":
        return rows
    left = np.setdiff1d(targets, np.delete(targets, rows))  # classes of which no row would be left
    return rows[~np.isin(targets[rows], left)]


@contextmanager
def _drawn_from(state: Any) -> Iterator[np.random.Generator]:
    """fastdl's generator, or for a while one of scikit-learn's random state in its place."""
    own = random.generator() if state is None else np.random.default_rng(state.randint(2**31, size=4))
    with random.replaced(own):
        yield own
