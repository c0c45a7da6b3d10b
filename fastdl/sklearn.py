"""Dense nets as scikit-learn estimators, for its pipelines, searches and cross-validation. Needs 'fastdl[sklearn]'.

Search on a logarithmic scale, two models at a time, each in a process of its own:

    space = {"learning_rate": loguniform(1e-4, 1e-1), "hidden_layer_sizes": [(50,), (100, 100)]}
    search = RandomizedSearchCV(FastdlClassifier(), space, n_jobs=2)

On a cluster: the same within `with joblib.parallel_config("dask")`, or "ray".
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

import numpy as np

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils import check_random_state, column_or_1d, compute_sample_weight
    from sklearn.utils.multiclass import check_classification_targets, type_of_target
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        f"fastdl.sklearn needs scikit-learn 1.6 or newer: pip install 'fastdl[sklearn]' ({error})"
    ) from None

from fastdl import config, layers, losses, optimizers
from fastdl.base import forks, random
from fastdl.base.arguments import whole
from fastdl.base.arrays import Array
from fastdl.callbacks import EarlyStopping
from fastdl.compiler.graph import first_not_finite
from fastdl.errors import ADVICE
from fastdl.models import Model, Sequential, loading, saving
from fastdl.models.divergence import Divergence
from fastdl.optimizers import Optimizer

if TYPE_CHECKING:
    from fastdl.fusion import FusionReport

INITIALIZERS = {"selu": "lecun_normal", "relu": "he_normal", "leaky_relu": "he_normal", "elu": "he_normal"}
STEPS = 2000  # of training, if nobody says how many epochs …
LEAST_EPOCHS, MOST_EPOCHS = 30, 1000  # … but so many epochs
PATIENCE = 30  # epochs, where rows are held back to say when to stop …
HELD_FROM = 1000  # … which costs more than it gives where there are fewer
OF_ANY_UNIT = {losses.MeanSquaredError, losses.MeanAbsoluteError}  # losses whose best weights do not depend on y's unit
_drawing = threading.RLock()  # initial weights are drawn from one generator


class _Estimator(BaseEstimator):  # type: ignore[misc]
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
            made.append(layers.Normalization(-1, *_moments(x, weights)))
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

    def _train(self, x: Array, targets: Array, outputs: int, weights: Array | None, more: bool = False) -> Self:
        """Train, a new model, or with warm_start or `more` the one there is; `more`: one pass, over all rows."""
        _share_cores()
        again = (more or self.warm_start) and hasattr(self, "_trained")
        state = None if self.random_state is None else check_random_state(self.random_state)
        with _drawn_from(state) as generator:
            patience = None if more else self._patience(len(x))
            share = None if patience is None else self.validation_fraction
            held = _held(generator, targets, share)
            kept = np.setdiff1d(np.arange(len(x)), held)
            if not again:
                given = None if weights is None else weights[kept]
                self._trained = self._network(x[kept], outputs, given)
                self._learn_units(targets[kept], given)
                if self._trained.optimizer is None:
                    self._trained.compile(self._chosen_optimizer(), self.loss or self._loss())
                self._trained.session.seed = int(generator.integers(2**63))
        heard = [Divergence(ConvergenceWarning), *([] if self.callbacks is None else self.callbacks)]
        if len(held):
            heard.append(EarlyStopping(patience=patience or 0, restore_best_weights=True))
        targets = self._in_units(targets)
        parts = [(x[rows], targets[rows], None if weights is None else weights[rows]) for rows in (kept, held)]
        history = self._trained.fit(
            *parts[0][:2],
            batch_size=self.batch_size,
            epochs=1 if more else self._epochs(len(kept)),
            verbose=self.verbose,
            callbacks=heard,
            validation_data=parts[1] if len(held) else None,
            sample_weight=parts[0][2],
        )
        self.history_, self.n_iter_ = history, len(history.epoch)
        self._finish()
        return self

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


class FastdlClassifier(ClassifierMixin, _Estimator):  # type: ignore[misc]
    """A dense net that classifies: a probability for each class of y, by softmax, or by sigmoid for two.

    scale: inputs are brought to mean 0 and variance 1 by the model's first layer, from the rows trained on, weighted
    as they are; model_ takes X as it is. hidden_layer_sizes, activation: of the net; hidden layers have the initial
    weights made for the activation. Each may have batch_norm before its activation, and `dropout` of that rate after
    it (AlphaDropout with selu). model: in place of all these, a function of the numbers of features and outputs (two
    classes: 1) that gives a model; what it compiles stays. optimizer: a Keras name or an object; learning_rate and
    weight_decay are set in a copy of it, if given. batch_size, callbacks, verbose: as in fit. epochs: at most so many;
    None lets the number of rows decide. patience: stop after so many epochs in which the loss on validation_fraction
    of the rows did not fall, with the best weights; these rows are drawn in the classes' shares. None: all epochs, on
    all rows; "auto": that for fewer than 1000 rows, else 30. class_weight: by label, or "balanced". warm_start: fit
    goes on from the weights of the last. random_state: of initial weights, held rows, shuffles and dropout; None draws
    on fastdl.utils.set_random_seed.

    classes_, model_ (the trained Model: it knows the names of features and classes, save it), history_, n_iter_,
    n_features_in_. y of 0 and 1 with several columns: each its own sigmoid, classes_ their numbers. ValueError for
    targets of one class. If training diverges a ConvergenceWarning says so, and predicting is a ValueError. As
    fastdl's own models it computes in float32, unless config.floatx says otherwise.
    """

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
        class_weight: Any = None,
        warm_start: bool = False,
        model: Callable[[int, int], Model] | None = None,
        loss: Any = None,
        callbacks: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in ("self", "class_weight", "__class__")}
        super().__init__(**given)
        self.class_weight = class_weight

    def _last(self) -> str:
        return "sigmoid" if self._multilabel or len(self.classes_) == 2 else "softmax"

    def _loss(self) -> Any:
        return "binary_crossentropy" if self._last() == "sigmoid" else "sparse_categorical_crossentropy"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train. X: (rows, features), y: (rows,) of labels of any kind, or (rows, labels) of 0 and 1, sample_weight:
        (rows,)."""
        return self._learn(X, y, None, sample_weight, more=False)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """One more epoch, on these rows, from the weights there are. classes: all there will be, at the first call.

        Inputs stay scaled as the first call's rows asked for.
        """
        return self._learn(X, y, classes, sample_weight, more=True)

    def _learn(self, X: Any, y: Any, classes: Any, sample_weight: Any, more: bool) -> Self:
        fresh = self._fresh(more)
        X, y = validate_data(self, X, y, dtype=self._dtype(), multi_output=True, reset=fresh)
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind == "multiclass-multioutput":
            raise ValueError("y of several columns must hold 0 and 1, one column a label")
        multilabel = kind == "multilabel-indicator"
        if fresh:
            self._multilabel = multilabel
            self.classes_ = np.arange(y.shape[1]) if multilabel else np.unique(y if classes is None else classes)
        if multilabel != self._multilabel or (multilabel and y.shape[1] != len(self.classes_)):
            raise ValueError("y is not of the kind that training began with")
        weights = self._weights(sample_weight, X)
        if multilabel:
            if self.class_weight is not None:
                raise ValueError("class_weight is for labels that exclude each other, not for several columns of y")
            return self._train(X, np.asarray(y, X.dtype), y.shape[1], weights, more)
        y = column_or_1d(y, warn=True)
        if len(self.classes_) < 2:
            raise ValueError(f"{type(self).__name__} needs samples of two classes or more, y has one class")
        if not np.isin(y, self.classes_).all():
            unknown = y[~np.isin(y, self.classes_)].tolist()[0]
            raise ValueError(f"y holds the label {unknown!r}; there are {self.classes_.tolist()}")
        if self.class_weight is not None:
            balance = compute_sample_weight(_checked_weights(self.class_weight), y)
            weights = balance.astype(X.dtype) if weights is None else weights * balance.astype(X.dtype)
        self._train(
            X, np.searchsorted(self.classes_, y), 1 if len(self.classes_) == 2 else len(self.classes_), weights, more
        )
        self.model_.class_names = [str(name) for name in self.classes_]
        return self

    def predict_proba(self, X: Any) -> Array:
        """(rows, classes): the probability of each of classes_; of several labels each its own."""
        p = self._raw(X)
        return np.hstack([1 - p, p]) if p.shape[1] == 1 and not self._multilabel else p

    def predict(self, X: Any) -> Array:
        """(rows,): the likeliest of classes_; or (rows, labels) of 0 and 1."""
        p = self.predict_proba(X)
        labels: Array = (p > 0.5).astype(np.int64) if self._multilabel else self.classes_[p.argmax(1)]
        return labels

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithms of predict_proba."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class FastdlRegressor(RegressorMixin, _Estimator):  # type: ignore[misc]
    """A dense net that predicts one number or several; by default with the mean squared error.

    Arguments and attributes are FastdlClassifier's, but for classes_ and class_weight. scale: targets are brought to
    mean 0 and variance 1 too, which model_'s last layer takes back; not with a `loss` that depends on their units, or
    a `model` of one's own. history_ is in the units trained on. Held rows are drawn evenly from low to high targets.
    """

    def _last(self) -> None:
        return None

    def _loss(self) -> Any:
        return "mean_squared_error"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train. X: (rows, features), y: (rows,) or (rows, outputs), sample_weight: (rows,)."""
        return self._learn(X, y, sample_weight, more=False)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One more epoch, on these rows, from the weights there are; scaled as the first call's rows asked for."""
        return self._learn(X, y, sample_weight, more=True)

    def _learn(self, X: Any, y: Any, sample_weight: Any, more: bool) -> Self:
        fresh = self._fresh(more)
        X, y = validate_data(self, X, y, dtype=self._dtype(), multi_output=True, y_numeric=True, reset=fresh)
        targets = y.reshape(len(y), -1).astype(np.float64)
        if not fresh and targets.shape[1] != self.model_.output_shape[1]:
            raise ValueError(f"y has {targets.shape[1]} columns, training began with {self.model_.output_shape[1]}")
        self._flat = y.ndim == 1
        return self._train(X, targets, targets.shape[1], self._weights(sample_weight, X), more)

    def _learn_units(self, targets: Array, weights: Array | None) -> None:
        loss = None if self.loss is None else type(losses.get(self.loss))
        scaled = self.scale and self.model is None and (loss is None or loss in OF_ANY_UNIT)
        self._units = _moments(targets, weights) if scaled else None

    def _in_units(self, targets: Array) -> Array:
        if self._units is None:
            return targets
        mean, variance = self._units
        scaled: Array = (targets - mean) / np.sqrt(variance)
        return scaled

    def _finished(self, trained: Model) -> Model:
        if self._units is None:
            return trained
        return Sequential(
            [
                layers.Input(trained.input_shape[1:]),
                *trained.layers,
                layers.Normalization(-1, *self._units, invert=True),
            ]
        )

    def predict(self, X: Any) -> Array:
        """(rows,), or (rows, outputs), as y was."""
        answer = self._raw(X)
        return answer[:, 0] if self._flat else answer

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _moments(values: Array, weights: Array | None) -> tuple[Array, Array]:
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
    held = order[((np.arange(count) + 0.5) / count * len(order)).astype(np.int64)]
    if targets.dtype.kind != "i":
        return held
    left = np.setdiff1d(targets, np.delete(targets, held))  # classes of which no row would be left
    return held[~np.isin(targets[held], left)]


def _checked_weights(weights: Any) -> Any:
    """class_weight. ValueError for numbers that are no weights; scikit-learn finds labels that are none."""
    if isinstance(weights, Mapping):
        for label, weight in weights.items():
            if not isinstance(weight, int | float | np.number) or not 0 <= weight < np.inf:
                raise ValueError(f"class_weight[{label!r}] must be a finite number, zero or more, not {weight!r}")
    elif weights != "balanced":
        raise ValueError(f"class_weight must be a mapping of labels to weights, or 'balanced', not {weights!r}")
    return weights


@contextmanager
def _drawn_from(state: Any) -> Iterator[np.random.Generator]:
    """fastdl's generator, or for a while one of scikit-learn's random state in its place."""
    with _drawing:
        own = random.generator() if state is None else np.random.default_rng(state.randint(2**31, size=4))
        with random.replaced(own):
            yield own


def _share_cores() -> None:
    """In a worker process of joblib's, use as many threads as joblib leaves it: the others have the rest."""
    left = os.environ.get("OMP_NUM_THREADS", "")
    if config.uses_all_cores() and multiprocessing.current_process().name != "MainProcess" and left.isdigit():
        config.set_num_threads(min(max(int(left), 1), config.available_cores()))


@forks.in_child
def _unlock() -> None:
    global _drawing
    if forks.left_behind(_drawing):
        _drawing = threading.RLock()
