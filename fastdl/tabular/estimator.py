"""What TabularClassifier and TabularRegressor have in common: raw columns in, nets trained, answers out."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from fastdl.base.arguments import whole
from fastdl.base.arrays import Array
from fastdl.base.files import check_target, write_together
from fastdl.distributed.dividing import is_divided
from fastdl.errors import DataError, FastdlError, warn
from fastdl.fusion.files.model_file import files_for
from fastdl.models import Model
from fastdl.onnx.export import to_onnx
from fastdl.tabular import nets, saving
from fastdl.tabular.columns import Columns, Encoded
from fastdl.tabular.ensembles import AHEAD, Candidate, candidate_of, greedy_weights, train_all
from fastdl.tabular.file import assemble
from fastdl.tabular.inputs import Layout
from fastdl.tabular.nets import Inputs
from fastdl.tabular.progress import Teller
from fastdl.tabular.proof import ColumnsProof, bar_of, prove
from fastdl.tabular.recipes import CLASSES, Recipe, recipe_of
from fastdl.tabular.scores import Score, score_of
from fastdl.tabular.search import jobs_of, search
from fastdl.tabular.splits import FEW, fold_numbers, holdout
from fastdl.tabular.table import Table
from fastdl.tabular.training import Data, Job, Progressing, answers_of, within

if TYPE_CHECKING:
    from onnx import ModelProto


class Tabular(BaseEstimator):  # type: ignore[misc]
    """Base. A subclass says what its targets are, and what answers become."""

    task: str

    def __init__(
        self,
        net: str | Recipe = "slim",
        *,
        time_limit: float | None = None,
        folds: int | None = 5,
        metric: str | None = None,
        epochs: int | None = None,
        learning_rate: float | None = None,
        hidden_layer_sizes: Sequence[int] | None = None,
        batch_size: int | None = None,
        validation_fraction: float = 0.2,
        categorical_features: Any = "from_dtype",
        numeric_features: Sequence[str] = (),
        date_features: Sequence[str] = (),
        drop: Sequence[str] = (),
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.net = net
        self.time_limit = time_limit
        self.folds = folds
        self.metric = metric
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.hidden_layer_sizes = hidden_layer_sizes
        self.batch_size = batch_size
        self.validation_fraction = validation_fraction
        self.categorical_features = categorical_features
        self.numeric_features = numeric_features
        self.date_features = date_features
        self.drop = drop
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    # -- what subclasses say ------------------------------------------------------------------------------

    def _targets(self, y: Any) -> Array:
        """y as nets learn it, and attributes that tell what it means. Of y that fit is given."""
        raise NotImplementedError

    def known_targets(self, y: Any) -> Array:
        """y of further rows, as `_targets` gave it."""
        raise NotImplementedError

    def outputs(self, targets: Array) -> int:
        raise NotImplementedError

    def _class_weights(self, y: Any) -> Array | None:
        """A factor for the weight of each row."""
        return None

    # -- fit ----------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, eval_set: Any = None) -> Self:
        """Train. X: a frame or array of raw columns; y: (rows,). sample_weight: (rows,), zero or more.

        eval_set: (X, y) of rows that choose the epoch and weigh the nets, in place of rows held back of X.
        """
        began = time.monotonic()
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        table = self._table(X, reset=True)
        if len(table) < 2:
            raise DataError(
                f"{type(self).__name__} needs two rows or more to learn from, X has n_samples = {len(table)}"
            )
        targets = self._targets(y)
        if len(targets) != len(table):
            raise DataError(f"X has {len(table)} rows, y has {len(targets)}")
        weights = self._weights(sample_weight, y, len(table))
        state = check_random_state(self.random_state)
        seed = int(state.randint(2**31))
        self.metric_, score = score_of(self.metric, self.task)
        recipe = self._recipe(len(table))
        self.columns_ = Columns(
            categorical=self.categorical_features,
            numeric=self.numeric_features,
            date=self.date_features,
            drop=self.drop,
            one_hot_up_to=recipe.one_hot_up_to,
        ).fit(table, weights)
        encoded = self.columns_.transform(table)
        learned = len(table)
        if eval_set is not None:
            encoded, targets, weights = self._with_eval_set(encoded, targets, weights, eval_set)
        data = self._data(encoded, targets, weights, learned)
        end = None if self.time_limit is None else began + self._checked_limit()
        candidates = self._trained(recipe, data, score, seed, learned, end)
        self._keep(candidates, data, score)
        self.seconds_ = time.monotonic() - began
        return self

    def _recipe(self, rows: int) -> Recipe:
        """The net's recipe for so many rows, with what was said of it."""
        said = {
            "epochs": None if self.epochs is None else whole("epochs", self.epochs),
            "learning_rate": self.learning_rate,
            "hidden_layer_sizes": self.hidden_layer_sizes,
            "batch_size": None if self.batch_size is None else whole("batch_size", self.batch_size),
        }
        if self.task == CLASSES and self.metric in ("log_loss", "roc_auc"):
            said["label_smoothing"] = 0.0
        return recipe_of(self.net, self.task, rows).changed(**{k: v for k, v in said.items() if v is not None})

    def _checked_limit(self) -> float:
        limit = self.time_limit
        if not isinstance(limit, int | float | np.number) or not 0 < limit < float("inf"):
            raise ValueError(f"time_limit must be a number of seconds above zero, or None, not {limit!r}")
        if is_divided():
            raise ValueError("time_limit must be None within distributed.divided: clocks of ranks do not agree")
        return float(limit)

    def _weights(self, sample_weight: Any, y: Any, rows: int) -> Array | None:
        balance = self._class_weights(y)
        if sample_weight is None:
            return balance
        weights = _check_sample_weight(sample_weight, np.empty((rows, 1)), ensure_non_negative=True)
        weights = np.asarray(weights, np.float64)
        return weights if balance is None else np.asarray(weights * balance)

    def _with_eval_set(
        self, encoded: Encoded, targets: Array, weights: Array | None, eval_set: Any
    ) -> tuple[Encoded, Array, Array | None]:
        """The rows of both, those of eval_set last."""
        pair = eval_set[0] if isinstance(eval_set, list) and len(eval_set) == 1 else eval_set
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError("eval_set must be a pair (X, y)")
        more = self.columns_.transform(self._table(pair[0]))
        more_targets = self.known_targets(pair[1])
        both = Encoded(
            np.concatenate([encoded.numbers, more.numbers]),
            np.concatenate([encoded.flags, more.flags]),
            np.concatenate([encoded.codes, more.codes]),
        )
        if weights is not None:
            weights = np.concatenate([weights, np.ones(len(more_targets))])
        return both, np.concatenate([targets, more_targets]), weights

    def _data(self, encoded: Encoded, targets: Array, weights: Array | None, learned: int) -> Data:
        """What nets read, with targets in units of their deviation."""
        self.inputs_ = Inputs(encoded.numbers.shape[1], encoded.flags.shape[1], tuple(self.columns_.sizes))
        bounds = self._units = None
        if self.task != CLASSES:
            known = targets[:learned]
            self._units = _units_of(known, None if weights is None else weights[:learned])
            targets = (targets - self._units[0]) / self._units[1]
            bounds = targets[:learned].min(axis=0), targets[:learned].max(axis=0)
        self._bounds = bounds
        return Data(self.inputs_, encoded.arrays, targets, self.task, self.outputs(targets), weights, bounds)

    def _trained(
        self, recipe: Recipe, data: Data, score: Score, seed: int, learned: int, end: float | None
    ) -> list[Candidate]:
        """One net, or a bag of them, or what a search finds. learned: how many rows are not of eval_set."""
        teller = Teller(self.metric_) if self.verbose else None
        progress = Progressing(tell=teller)
        apart = learned < len(data)  # the rows of eval_set judge
        if end is not None and learned >= FEW:
            judges = learned if apart else None
            candidates = search(recipe, data, score, progress, end, seed, self.n_jobs, judges)
        else:
            jobs = self._jobs(recipe, data, seed, learned)
            members = [member for member in train_all(jobs, data, score, progress, self.n_jobs) if member is not None]
            bags = [[member] for member in members] if apart else [members] if members else []
            candidates = [candidate_of(bag, data, score) for bag in bags]
        if teller:
            teller.end()
        if not candidates:
            late = "" if end is None else f": give it a time_limit of more than {self.time_limit:g} s"
            raise FastdlError(f"no net was trained: each diverged, or was stopped in its first epoch{late}")
        self.interrupted_ = progress.interrupted
        if self.interrupted_:
            warn("training was stopped: the answers are those of the best nets until then", UserWarning)
        return candidates

    def _jobs(self, recipe: Recipe, data: Data, seed: int, learned: int) -> list[Job]:
        """A net that some rows are held back from, one for each fold, or one that the rows of eval_set judge."""
        rows, generator = np.arange(len(data)), np.random.default_rng(seed)
        if learned < len(data):
            return [Job(recipe, rows[:learned], rows[learned:], seed + k) for k in range(self.folds or 1)]
        if learned < FEW:
            return [Job(recipe, rows, rows, seed)]
        if self.folds is not None and whole("folds", self.folds) > 1:
            return jobs_of(recipe, fold_numbers(data.targets, min(self.folds, learned), generator), seed)
        return [Job(recipe, *holdout(data.targets, self.validation_fraction, generator), seed)]

    def _keep(self, candidates: list[Candidate], data: Data, score: Score) -> None:
        """One model of all members that count, and what they were judged by."""
        ahead = 0 if self.time_limit is None else AHEAD
        shares = greedy_weights(candidates, data, score, ahead) if len(candidates) > 1 else np.ones(1)
        chosen = [(each, share) for each, share in zip(candidates, shares, strict=True) if share > 0]
        self.members_ = [member for each, _ in chosen for member in each.members]
        self.shares_ = [float(share / len(each.members)) for each, share in chosen for _ in each.members]
        self.validation_rows_ = chosen[0][0].rows
        total = sum(share * each.predicted.astype(np.float64) for each, share in chosen)
        self.validation_answers_ = self._answers_in_units(within(np.asarray(total), self._bounds))
        rows = self.validation_rows_
        self.validation_score_ = score(data.targets[rows], within(total, self._bounds), data.weights_of(rows))
        recipes = [each.members[0].recipe for each in candidates]
        self.candidates_ = list(zip(recipes, [each.score for each in candidates], shares.tolist(), strict=True))
        self.n_iter_ = max(member.best_epoch + 1 for member in self.members_)
        self.finish()

    def finish(self) -> None:
        """Make model_ of the members."""
        models = [member.model for member in self.members_]
        self.model_: Model = nets.combined(models, self.shares_, self.inputs_, self._units)

    def _answers_in_units(self, answers: Array) -> Array:
        return answers if self._units is None else answers * self._units[1] + self._units[0]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.non_deterministic = self.random_state is None
        return tags

    # -- answers ------------------------------------------------------------------------------------------

    def _table(self, X: Any, reset: bool = False) -> Table:
        """X by columns. sklearn learns of its width and names."""
        if isinstance(X, Table):
            table = X
        elif (hasattr(X, "columns") or hasattr(X, "column_names") or isinstance(X, dict)) and not hasattr(X, "tocsr"):
            table = Table.of(X)
        else:
            if not reset:
                check_is_fitted(self)
            X = validate_data(self, X, reset=reset, dtype=None, ensure_all_finite=False)
            return Table.of(X)
        if reset:
            self.n_features_in_ = len(table.names)
            self.feature_names_in_ = np.array(table.names, object)
        return table

    def answers(self, X: Any) -> Array:
        """The model's answers, in the units of the target. ValueError if they are no numbers."""
        check_is_fitted(self)
        return self.answers_of(self.columns_.transform(self._table(X)))

    def answers_of(self, encoded: Encoded) -> Array:
        """The same for rows that are encoded already."""
        answers = answers_of(self.model_, encoded.arrays)
        limits = self._limits()
        return answers if limits is None else np.clip(answers, *limits)

    def _limits(self) -> tuple[Array, Array] | None:
        """The least and the greatest answer of each output."""
        if self._bounds is None or self._units is None:
            return None
        low, high = ((bound * self._units[1] + self._units[0]).astype(np.float32) for bound in self._bounds)
        return low, high

    # -- files --------------------------------------------------------------------------------------------

    def fitted(self) -> dict[str, Any]:
        """What was learned beside columns and nets, in types that JSON has."""
        names = "metric_", "n_features_in_", "n_iter_", "validation_score_", "seconds_"
        told: dict[str, Any] = {name: getattr(self, name) for name in names}
        told["feature_names_in_"] = [str(name) for name in getattr(self, "feature_names_in_", [])]
        for name, pair in {"units": self._units, "bounds": self._bounds}.items():
            told[name] = None if pair is None else [each.tolist() for each in pair]
        return told

    def take_fitted(self, told: Mapping[str, Any]) -> None:
        """Take what `fitted` told of another."""
        known = dict(told)
        for name in ("units", "bounds"):
            pair = known.pop(name)
            setattr(self, f"_{name}", None if pair is None else tuple(np.asarray(each) for each in pair))
        if names := known.pop("feature_names_in_"):
            self.feature_names_in_ = np.array(names, object)
        for name in ("metric_", "n_features_in_", "n_iter_", "validation_score_", "seconds_"):
            setattr(self, name, known[name])

    def save(self, filepath: str | os.PathLike[str]) -> None:
        """Write it, with all that it has learned, for `fastdl.tabular.load`. OSError: the old file stays."""
        check_is_fitted(self)
        saving.save(self, filepath)

    def to_onnx(self, *, layout: Layout = "columns", rank1: bool = False) -> tuple[ModelProto, ColumnsProof]:
        """One ONNX file that takes the raw columns, and the proof that it answers as this does: see `export`."""
        check_is_fitted(self)
        net = to_onnx(self.model_.trace(), "net", {}, ["output"])
        classes = self.classes_.tolist() if self.task == CLASSES else None
        file = assemble(self.columns_, net, layout=layout, rank1=rank1, classes=classes, limits=self._limits())
        bar = bar_of(self.model_, self.columns_, relative=self.task != CLASSES)
        return file, prove(file, self.columns_, self.answers, bar=bar)

    def export(self, path: str | os.PathLike[str], *, layout: Layout = "columns", rank1: bool = False) -> ColumnsProof:
        """Write one ONNX file that takes raw columns and answers as this does, proven on 10,000 random rows.

        layout: "columns", an input (N, 1) for each column under its own name, (N,) with rank1; "matrices", one of all
        numbers and one of all text. Outputs: label and probabilities, or prediction. FusionError if the file does not
        answer alike: then nothing is written.
        """
        check_target(Path(path))
        file, proof = self.to_onnx(layout=layout, rank1=rank1)
        write_together(*files_for(file, Path(path)))
        return proof


def _units_of(targets: Array, weights: Array | None) -> tuple[Array, Array]:
    """Mean and deviation of each column, weighted; a column that does not vary has deviation 1."""
    if weights is not None and not weights.sum() > 0:
        weights = None
    mean = np.average(targets, axis=0, weights=weights)
    deviation = np.sqrt(np.average((targets - mean) ** 2, axis=0, weights=weights))
    return mean, np.where(deviation > 0, deviation, 1.0)
