"""A dense net that classifies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import validate_data

from fastdl.base.arrays import Array
from fastdl.models import Model
from fastdl.optimizers import Optimizer
from fastdl.sklearn.estimator import Estimator


class FastdlClassifier(ClassifierMixin, Estimator):  # type: ignore[misc]
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

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, eval_set: Any = None) -> Self:
        """Train. X: (rows, features), y: (rows,) of labels of any kind, or (rows, labels) of 0 and 1, sample_weight:
        (rows,). eval_set: (X, y) of rows that say when to stop, in place of some that are held back."""
        return self._learn(X, y, None, sample_weight, more=False, eval_set=eval_set)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """One more epoch, on these rows, from the weights there are. classes: all there will be, at the first call.

        Inputs stay scaled as the first call's rows asked for.
        """
        return self._learn(X, y, classes, sample_weight, more=True)

    def _learn(self, X: Any, y: Any, classes: Any, sample_weight: Any, more: bool, eval_set: Any = None) -> Self:
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
            judges = self._judges(eval_set, lambda more_y: np.asarray(more_y, X.dtype))
            return self._train(X, np.asarray(y, X.dtype), y.shape[1], weights, more, judges)
        y = column_or_1d(y, warn=True)
        if len(self.classes_) < 2:
            raise ValueError(f"{type(self).__name__} needs samples of two classes or more, y has one class")
        self._refuse_unknown("y", y)
        if self.class_weight is not None:
            balance = compute_sample_weight(_checked_weights(self.class_weight), y)
            weights = balance.astype(X.dtype) if weights is None else weights * balance.astype(X.dtype)
        outputs = 1 if len(self.classes_) == 2 else len(self.classes_)
        judges = self._judges(eval_set, self._numbered)
        self._train(X, np.searchsorted(self.classes_, y), outputs, weights, more, judges)
        self.model_.class_names = [str(name) for name in self.classes_]
        return self

    def _numbered(self, y: Any) -> Array:
        """The class numbers of eval_set's labels."""
        labels = column_or_1d(y, warn=True)
        self._refuse_unknown("y of eval_set", labels)
        numbers: Array = np.searchsorted(self.classes_, labels)
        return numbers

    def _refuse_unknown(self, what: str, y: Array) -> None:
        if not np.isin(y, self.classes_).all():
            unknown = y[~np.isin(y, self.classes_)].tolist()[0]
            raise ValueError(f"{what} holds the label {unknown!r}; there are {self.classes_.tolist()}")

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


def _checked_weights(weights: Any) -> Any:
    """class_weight. ValueError for numbers that are no weights; scikit-learn finds labels that are none."""
    if isinstance(weights, Mapping):
        for label, weight in weights.items():
            if not isinstance(weight, int | float | np.number) or not 0 <= weight < np.inf:
                raise ValueError(f"class_weight[{label!r}] must be a finite number, zero or more, not {weight!r}")
    elif weights != "balanced":
        raise ValueError(f"class_weight must be a mapping of labels to weights, or 'balanced', not {weights!r}")
    return weights
