"""Who takes part, each at its own defaults: the packages it needs, the columns it is given, how it is made."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench.tabular.sets import CLASSES


@dataclass(frozen=True)
class Case:
    """What an estimator is made for. `limit`: seconds, for a peer that searches."""

    task: str
    seed: int
    threads: int
    limit: float | None = None
    categories: tuple[str, ...] = ()

    def pick(self, module: Any, name: str) -> Any:
        """nameClassifier or nameRegressor."""
        return getattr(module, name + ("Classifier" if self.task == CLASSES else "Regressor"))


@dataclass(frozen=True)
class Peer:
    """`columns` names a class of encoders.py. `limit_of`: this peer may take `LIMIT` times as long as that one does."""

    needs: tuple[str, ...]
    columns: str
    make: Callable[[Case], Any]
    fit_options: Callable[[Case], dict[str, Any]] = field(default=lambda case: {})
    limit_of: str = ""

    def missing(self) -> str | None:
        """Why it cannot take part, in a word, or None."""
        absent = [name for name in self.needs if not _found(name)]
        return f"{', '.join(absent)} not installed" if absent else None

    def version(self) -> str:
        """Of the first package it needs."""
        package = self.needs[0].partition(".")[0]
        names = importlib.metadata.packages_distributions().get(package, [package])
        try:
            return importlib.metadata.version(names[0])
        except importlib.metadata.PackageNotFoundError:
            return str(importlib.import_module(package).__version__)


LIMIT = 3


def _found(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package of a module
        return False


def fastdl(case: Case) -> Any:
    """Raw columns."""
    import fastdl
    from fastdl import tabular

    fastdl.set_num_threads(case.threads)
    options = {} if case.limit is None else {"time_limit": case.limit}
    return case.pick(tabular, "Tabular")(random_state=case.seed, n_jobs=case.threads, **options)


def changed(**changes: Any) -> Callable[[Case], Any]:
    """One net of fastdl, of the paper's recipe but for the changes."""

    def make(case: Case) -> Any:
        from fastdl.tabular.recipes import recipe_of

        task = "classes" if case.task == CLASSES else "numbers"
        recipe = recipe_of("realmlp", task)
        return fastdl(case).set_params(net=recipe.changed(**changes), folds=None)

    return make


def named(net: str, folds: int | None = None) -> Callable[[Case], Any]:
    """fastdl with the recipe of that name: one net, or one for each fold."""
    return lambda case: fastdl(case).set_params(net=net, folds=folds)


def fastdl_plain(case: Case) -> Any:
    """The estimator for matrices."""
    import fastdl
    from fastdl import sklearn

    fastdl.set_num_threads(case.threads)
    return case.pick(sklearn, "Fastdl")(random_state=case.seed)


def linear(case: Case) -> Any:
    """Logistic or ridge regression."""
    from sklearn.linear_model import LogisticRegression, Ridge

    return LogisticRegression(max_iter=1000) if case.task == CLASSES else Ridge()


def histogram(case: Case) -> Any:
    """scikit-learn's boosting; it takes its threads from OpenMP."""
    from sklearn import ensemble

    return case.pick(ensemble, "HistGradientBoosting")(random_state=case.seed, categorical_features="from_dtype")


def sklearn_mlp(case: Case) -> Any:
    """scikit-learn's net; the target standardised."""
    from sklearn import neural_network
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.preprocessing import StandardScaler

    net = case.pick(neural_network, "MLP")(random_state=case.seed)
    return net if case.task == CLASSES else TransformedTargetRegressor(net, transformer=StandardScaler())


def lightgbm(case: Case) -> Any:
    """LightGBM."""
    import lightgbm

    return case.pick(lightgbm, "LGBM")(random_state=case.seed, n_jobs=case.threads, verbose=-1)


def xgboost(case: Case) -> Any:
    """XGBoost."""
    import xgboost

    return case.pick(xgboost, "XGB")(random_state=case.seed, n_jobs=case.threads, enable_categorical=True)


def catboost(case: Case) -> Any:
    """CatBoost."""
    import catboost

    return case.pick(catboost, "CatBoost")(
        random_seed=case.seed, thread_count=case.threads, verbose=0, allow_writing_files=False
    )


def realmlp(name: str) -> Callable[[Case], Any]:
    """pytabkit's RealMLP, as it comes."""

    def make(case: Case) -> Any:
        import pytabkit
        from pytabkit.models.alg_interfaces import nn_interfaces  # else imported while the clock runs

        del nn_interfaces
        return case.pick(pytabkit, name)(random_state=case.seed, n_threads=case.threads, device="cpu")

    return make


def _categories(case: Case) -> dict[str, Any]:
    return {"cat_features": list(case.categories)}


PEERS = {
    "fastdl": Peer(("fastdl.tabular",), "Raw", fastdl),
    "fastdl-search": Peer(("fastdl.tabular",), "Raw", fastdl, limit_of="catboost"),
    "fastdl-plain": Peer(("fastdl", "sklearn"), "Matrix", fastdl_plain),
    "linear": Peer(("sklearn",), "Matrix", linear),
    "sklearn-mlp": Peer(("sklearn",), "Matrix", sklearn_mlp),
    "hist": Peer(("sklearn",), "FewValues", histogram),
    "lightgbm": Peer(("lightgbm",), "Native", lightgbm),
    "xgboost": Peer(("xgboost",), "Native", xgboost),
    "catboost": Peer(("catboost",), "Strings", catboost, _categories),
    "realmlp-s": Peer(("pytabkit", "torch"), "Filled", realmlp("RealMLP_TD_S_")),
    "realmlp": Peer(("pytabkit", "torch"), "Filled", realmlp("RealMLP_TD_")),
}

PLAIN = {
    "parametric": False,
    "scaling": False,
    "numeric_encoding": None,
    "schedule": "constant",
    "learning_rate": 0.002,
}
CHANGES: dict[str, dict[str, Any]] = {  # what each ingredient of the net is worth: fastdl without it
    "without-waves": {"numeric_encoding": None},
    "without-mixtures": {"parametric": False},
    "without-scaling": {"scaling": False},
    "without-first-weights": {"data_driven": False},
    "without-schedule": {"schedule": "constant", "learning_rate": 0.005},
    "without-dropout": {"dropout": 0.0},
    "without-decay": {"weight_decay": 0.0},
    "without-smoothing": {"label_smoothing": 0.0},
    "beta-2-0.999": {"beta_2": 0.999},
    "plain": {
        **PLAIN,
        "beta_2": 0.999,
        "data_driven": False,
        "dropout": 0.0,
        "weight_decay": 0.0,
        "activation": "relu",
    },
}
WHOLE = "fastdl-realmlp"  # one net of the paper's recipe, and nothing left out
ABLATIONS = {
    WHOLE: Peer(("fastdl.tabular",), "Raw", named("realmlp")),
    **{name: Peer(("fastdl.tabular",), "Raw", changed(**changes)) for name, changes in CHANGES.items()},
    "bag-of-5": Peer(("fastdl.tabular",), "Raw", named("realmlp", 5)),
    "slim": Peer(("fastdl.tabular",), "Raw", named("slim")),
    "tabm": Peer(("fastdl.tabular",), "Raw", named("tabm")),
    "realmlp-small": Peer(("fastdl.tabular",), "Raw", named("realmlp-small")),
}
EVERY = PEERS | ABLATIONS
WITHOUT = (WHOLE, *CHANGES, "bag-of-5", "slim", "fastdl")  # who take part in what each ingredient is worth
