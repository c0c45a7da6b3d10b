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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        f"fastdl.sklearn needs scikit-learn 1.6 or newer: pip install 'fastdl[sklearn]' ({error})"
    ) from None

from fastdl import _random, config, layers, optimizers
from fastdl.callbacks import EarlyStopping
from fastdl.graph import Array
from fastdl.models import Model, Sequential
from fastdl.optimizers import Optimizer

INITIALIZERS = {"selu": "lecun_normal", "relu": "he_normal", "leaky_relu": "he_normal", "elu": "he_normal"}
_drawing = threading.Lock()  # initial weights are drawn from one generator


class _Estimator(BaseEstimator):  # type: ignore[misc]
    """Base. A subclass says what the last layer is, which loss goes with it, and what targets are."""

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (100,),
        activation: str = "relu",
        *,
        optimizer: str | Optimizer = "adam",
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        batch_norm: bool = False,
        dropout: float = 0.0,
        epochs: int = 100,
        batch_size: int = 32,
        patience: int | None = None,
        validation_fraction: float = 0.1,
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
        self.model = model
        self.loss = loss
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose

    def _network(self, features: int, outputs: int) -> Model:
        """The model, not compiled: what `model` makes, or hidden layers and the last."""
        if self.model is not None:
            return self.model(features, outputs)
        made: list[Any] = [layers.Input((features,))]
        initializer = INITIALIZERS.get(self.activation, "glorot_uniform")
        noise = layers.AlphaDropout if self.activation == "selu" else layers.Dropout
        for units in np.atleast_1d(self.hidden_layer_sizes):
            made.append(layers.Dense(int(units), use_bias=not self.batch_norm, kernel_initializer=initializer))
            made += [layers.BatchNormalization()] if self.batch_norm else []
            made.append(layers.Activation(self.activation))
            made += [noise(self.dropout)] if self.dropout else []
        return Sequential([*made, layers.Dense(outputs, activation=self._last(outputs))])

    def _chosen_optimizer(self) -> Optimizer:
        chosen = optimizers.get(self.optimizer).fresh()
        if self.learning_rate is not None:
            chosen.learning_rate = self.learning_rate
        if self.weight_decay is not None:
            chosen = type(chosen).from_config({**chosen.get_config(), "weight_decay": self.weight_decay})
        return chosen

    def _last(self, outputs: int) -> str | None:
        raise NotImplementedError

    def _loss(self, outputs: int) -> Any:
        raise NotImplementedError

    def _train(self, x: Array, targets: Array, outputs: int, sample_weight: Any) -> Self:
        """Make the model and train it."""
        _share_cores()
        state = None if self.random_state is None else check_random_state(self.random_state)
        with _drawn_from(state) as generator:
            model = self._network(x.shape[1], outputs)
            if model.optimizer is None:
                model.compile(self._chosen_optimizer(), self.loss or self._loss(outputs))
            model._seed = int(generator.integers(2**63))
            order = generator.permutation(len(x))
        heard = [] if self.callbacks is None else list(self.callbacks)
        held = 0.0
        if self.patience is not None:
            heard.append(EarlyStopping(patience=self.patience, restore_best_weights=True))
            held = self.validation_fraction
            x, targets = x[order], targets[order]
            sample_weight = None if sample_weight is None else sample_weight[order]
        self.history_ = model.fit(
            *(x, targets, self.batch_size, self.epochs, self.verbose, heard),
            validation_split=held,
            sample_weight=sample_weight,
        )
        self.model_, self.n_iter_ = model, len(self.history_.epoch)
        return self

    def _raw(self, x: Any) -> Array:
        """The model's outputs, in x's dtype."""
        check_is_fitted(self)
        x = validate_data(self, x, dtype=self._dtype(), reset=False)
        answer: Array = self.model_.predict(x).astype(x.dtype, copy=False)
        return answer

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

    hidden_layer_sizes, activation: of the net; hidden layers have the initial weights made for the activation. Each
    may have batch_norm before its activation, and `dropout` of that rate after it (AlphaDropout with selu).
    model: in place of all these, a function of the numbers of features and outputs (two classes: 1) that gives a
    model; what it compiles stays. optimizer: a Keras name or an object; learning_rate and weight_decay are set in a
    copy of it, if given. epochs, batch_size, callbacks, verbose: as in fit. patience: stop after so many epochs in
    which the loss on validation_fraction of the rows, chosen at random, did not fall, with the best weights.
    random_state: of initial weights, shuffles and dropout; None draws on fastdl.utils.set_random_seed.

    classes_, model_ (the trained Model: export it, save it), history_, n_iter_, n_features_in_. ValueError for targets
    of one class or of several labels a row. As fastdl's own models it computes in float32, unless config.floatx says
    otherwise.
    """

    def _last(self, outputs: int) -> str:
        return "sigmoid" if outputs == 1 else "softmax"

    def _loss(self, outputs: int) -> Any:
        return "binary_crossentropy" if outputs == 1 else "sparse_categorical_crossentropy"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train afresh. X: (rows, features), y: (rows,) of labels of any kind, sample_weight: (rows,)."""
        X, y = validate_data(self, X, y, dtype=self._dtype())
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"{type(self).__name__} needs samples of two classes or more, y has one class")
        outputs = 1 if len(self.classes_) == 2 else len(self.classes_)
        return self._train(X, labels, outputs, self._weights(sample_weight, X))

    def predict_proba(self, X: Any) -> Array:
        """(rows, classes): the probability of each of classes_."""
        p = self._raw(X)
        return np.hstack([1 - p, p]) if p.shape[1] == 1 else p

    def predict(self, X: Any) -> Array:
        """(rows,): the likeliest of classes_."""
        chosen = self.predict_proba(X).argmax(1)
        labels: Array = self.classes_[chosen]
        return labels

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithms of predict_proba."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))


class FastdlRegressor(RegressorMixin, _Estimator):  # type: ignore[misc]
    """A dense net that predicts one number or several; by default with the mean squared error.

    Arguments and attributes are FastdlClassifier's, but for classes_. Targets far from 0 or of large scale are learnt
    sooner through sklearn.compose.TransformedTargetRegressor.
    """

    def _last(self, outputs: int) -> None:
        return None

    def _loss(self, outputs: int) -> Any:
        return "mean_squared_error"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train afresh. X: (rows, features), y: (rows,) or (rows, outputs), sample_weight: (rows,)."""
        X, y = validate_data(self, X, y, dtype=self._dtype(), multi_output=True, y_numeric=True)
        self._flat = y.ndim == 1
        targets = y.reshape(len(y), -1).astype(X.dtype)
        return self._train(X, targets, targets.shape[1], self._weights(sample_weight, X))

    def predict(self, X: Any) -> Array:
        """(rows,), or (rows, outputs), as y was."""
        answer = self._raw(X)
        return answer[:, 0] if self._flat else answer

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


@contextmanager
def _drawn_from(state: Any) -> Iterator[np.random.Generator]:
    """fastdl's generator, or for a while one of scikit-learn's random state in its place."""
    with _drawing:
        before = _random.generator()
        if state is not None:
            _random._generator = np.random.default_rng(state.randint(2**31, size=4))
        try:
            yield _random.generator()
        finally:
            _random._generator = before


def _share_cores() -> None:
    """In a worker process of joblib's, use as many threads as joblib leaves it: the others have the rest."""
    left = os.environ.get("OMP_NUM_THREADS", "")
    if config._threads is None and multiprocessing.current_process().name != "MainProcess" and left.isdigit():
        config.set_num_threads(min(max(int(left), 1), config.available_cores()))
