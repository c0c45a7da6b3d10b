"""Regularizers and constraints as objects and in training: by name and config, of one's own, whatever the threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import constraints, layers, optimizers, regularizers
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import Op
from fastdl.errors import ShapeError
from fastdl.models import clone_model, engine

Array = np.ndarray[Any, Any]
MODULES: dict[str, Any] = {"regularizers": regularizers, "constraints": constraints}
every = pytest.mark.parametrize(("module", "name"), [(m, name) for m in MODULES for name in MODULES[m].NAMES])


def net(optimizer: Any = "adam", dtype: str = "float32", frozen: bool = False, **options: Any) -> fastdl.Sequential:
    """The options are those of its first layer."""
    fastdl.utils.set_random_seed(3)
    model = fastdl.Sequential(
        [
            fastdl.Input((9,)),
            layers.Dense(40, "relu", trainable=not frozen, **options),
            layers.BatchNormalization(),
            layers.Dense(3, "softmax"),
        ],
        dtype=dtype,
    )
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


def data(rows: int = 300) -> tuple[Array, Array]:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((rows, 9))
    return x, (x @ rng.standard_normal((9, 3))).argmax(1)


@every
def test_by_name_class_instance_and_config(module: str, name: str) -> None:
    vocabulary = MODULES[module]
    kind = vocabulary.NAMES[name]
    assert getattr(vocabulary, name) is kind
    made = kind()
    for given in (name, kind, made, vocabulary.serialize(made)):
        assert type(vocabulary.get(given)) is kind
    assert vocabulary.get(made) is made
    assert vocabulary.get(None) is None
    assert vocabulary.deserialize(vocabulary.serialize(made)).get_config() == made.get_config()


def test_strengths() -> None:
    assert regularizers.get("l1").strengths == (0.01, 0)  # type: ignore[union-attr]
    for name in ("l1_l2", "l1l2"):
        assert regularizers.get(name).strengths == (0.01, 0.01)  # type: ignore[union-attr]
    assert regularizers.L1L2(l2=0.5).strengths == (0, 0.5)
    x = np.array([[1.0, -2.0], [0.0, 3.0]])
    assert regularizers.L1L2(0.5, 0.25)(x) == 0.5 * 6 + 0.25 * 14
    np.testing.assert_array_equal(regularizers.L1L2(0.5, 0.25).gradient(x), 0.5 * np.sign(x) + 0.5 * x)


class Cubes(regularizers.Regularizer):
    """A penalty of one's own."""

    def __call__(self, x: Any) -> float:
        return float(0.01 * (np.abs(x) ** 3).sum())

    def gradient(self, x: Any) -> Array:
        return np.asarray(0.03 * x * np.abs(x))


class Rounded(constraints.Constraint):
    """A constraint of one's own: weights on a grid."""

    def __call__(self, w: Any) -> Array:
        return np.asarray(np.round(w * 8) / 8)


def squares(w: Array) -> tuple[Any, Array]:
    return 0.01 * (w * w).sum(), 0.02 * w


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "l1": {"kernel_regularizer": "l1", "bias_regularizer": "l1"},
    "l2": {"kernel_regularizer": "l2", "bias_regularizer": "l2"},
    "activity": {"activity_regularizer": "l2"},
    "max norm": {"kernel_constraint": constraints.MaxNorm(0.5), "bias_constraint": constraints.MaxNorm(0.01)},
    "rows": {"kernel_constraint": constraints.UnitNorm(1)},
    "all": {"kernel_constraint": constraints.UnitNorm(None)},
    "non neg": {"kernel_constraint": "non_neg", "bias_constraint": "non_neg"},
    "everything": {
        "kernel_regularizer": "l1_l2",
        "bias_regularizer": "l2",
        "activity_regularizer": "l1",
        "kernel_constraint": constraints.MinMaxNorm(0.1, 0.5, 0.5),
        "bias_constraint": "max_norm",
    },
    "own": {"kernel_regularizer": squares, "bias_regularizer": Cubes(), "kernel_constraint": Rounded()},
}
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "adam": lambda: optimizers.Adam(0.01),
    "norm": lambda: optimizers.SGD(0.1, 0.9, clipnorm=0.1),
    "global": lambda: optimizers.Adam(0.01, global_clipnorm=0.1, weight_decay=0.01),
    "averages": lambda: optimizers.SGD(0.1, use_ema=True, ema_overwrite_frequency=3),
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch", [1, 50, 300, 1100])
def test_threads_change_no_bit(options: str, optimizer: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.Pace, "plan", lambda self, left, **_: engine.Plan(fastdl.get_num_threads(), left))
    results = []
    for threads in (1, 2, 3):
        fastdl.set_num_threads(threads)
        model = net(OPTIMIZERS[optimizer](), **OPTIONS[options])
        history = model.fit(*data(max(12, 2 * batch)), batch_size=batch, verbose=0).history["loss"]
        results.append([*model.get_weights(), np.array(history), np.array(model.losses)])
    fastdl.set_num_threads(None)
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("batch", [20, 200, 400, 1100])
@pytest.mark.parametrize("options", [name for name in OPTIONS if name != "own"])
def test_fused_and_separate_steps_agree(options: str, batch: int) -> None:
    """An unreachable global norm keeps gradient and step apart; what is fused must do the same."""
    x, y = data(batch)
    fused, apart = (net(optimizers.Adam(0.01, **o), "float64", **OPTIONS[options]) for o in ({}, FAR))
    for _ in range(3):
        assert fused.train_on_batch(x, y) == pytest.approx(apart.train_on_batch(x, y), rel=1e-12)
    for a, b in zip(fused.get_weights(), apart.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


FAR = {"global_clipnorm": 1e9}


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, "value"])
def test_ones_own_does_what_the_kernels_do(optimizer: str) -> None:
    """Penalties and constraints written in numpy, beside those that it is a copy of."""
    chosen = OPTIMIZERS.get(optimizer, lambda: optimizers.SGD(0.1, clipvalue=0.01))
    limit = constraints.MaxNorm(0.5)
    ours = net(chosen(), "float64", kernel_regularizer="l2", bias_regularizer="l2", kernel_constraint=limit)
    own = net(
        chosen(),
        "float64",
        kernel_regularizer=squares,
        bias_regularizer=squares,
        kernel_constraint=lambda w: w * np.minimum(1, 0.5 / np.sqrt((w * w).sum(0))) * (1 - 1e-12),
    )
    for model in (ours, own):
        model.fit(*data(), batch_size=32, epochs=2, shuffle=False, verbose=0)
    assert own.losses == pytest.approx(ours.losses, rel=1e-4)
    assert own.evaluate(*data()) == pytest.approx(ours.evaluate(*data()), rel=1e-5)
    for a, b in zip(ours.get_weights(), own.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_logs_hold_the_penalty_everywhere() -> None:
    """fit, evaluate, validation and train_on_batch, with weights and without; not predict."""
    x, y = data()
    plain, model = net("sgd"), net("sgd", kernel_regularizer=regularizers.L2(0.5), activity_regularizer="l1")
    plain.optimizer, model.optimizer = optimizers.SGD(0.0), optimizers.SGD(0.0)
    activity = np.abs(fastdl.Sequential([fastdl.Input((9,)), *model.layers[:1]]).predict(x)).sum() * 0.01 / len(x)
    more = model.losses[0] + activity
    assert model.losses == pytest.approx([0.5 * (model.get_weights()[0].astype(np.float64) ** 2).sum()])
    assert np.array_equal(plain.predict(x), model.predict(x))
    weights = np.random.default_rng(0).uniform(0, 2, len(x))
    for options in ({}, {"sample_weight": weights}):
        for batch in (300, 70, 32):
            fit = {"validation_data": (x, y), "shuffle": False, "verbose": 0, **options}
            pair = [m.fit(x, y, batch, **fit).history for m in (plain, model)]
            off = [m["val_loss"][0] for m in pair]
            assert off[1] - off[0] == pytest.approx(more, rel=1e-5)
        off = [m.evaluate(x, y, **options) for m in (plain, model)]
        assert off[1] - off[0] == pytest.approx(more, rel=1e-5)
        off = [m.train_on_batch(x, y, **options) for m in (plain, model)]
        assert off[1] - off[0] == pytest.approx(more, rel=1e-5)


def test_frozen_weights_have_neither_penalty_nor_constraint() -> None:
    model = net(frozen=True, kernel_regularizer="l2", kernel_constraint="unit_norm", activity_regularizer="l2")
    before = model.get_weights()[0]
    model.fit(*data(), verbose=0)
    assert model.losses == []
    assert np.array_equal(model.get_weights()[0], before)
    assert model.evaluate(*data()) > net(frozen=True).evaluate(*data())  # activities count wherever they are


def test_constraints_hold_after_every_step() -> None:
    model = net(optimizers.Adam(0.1), kernel_constraint=constraints.MaxNorm(0.5), bias_constraint="non_neg")
    for _ in range(5):
        model.train_on_batch(*data(100))
        kernel, bias = model.get_weights()[:2]
        assert np.linalg.norm(kernel, axis=0).max() <= 0.5 + 1e-6
        assert bias.min() >= 0
        assert bias.max() > 0


def test_penalties_are_part_of_the_whole_loss_only() -> None:
    """Not of the outputs' own; and one layer that two outputs share is counted once."""
    x, y = data()
    both: list[dict[str, float]] = []
    for options in ({}, {"kernel_regularizer": regularizers.L2(0.5), "activity_regularizer": "l1"}):
        fastdl.utils.set_random_seed(3)
        source = fastdl.Input((9,))
        shared = layers.Dense(4, "tanh", **options)
        outputs = [layers.Dense(3, "softmax", name="a")(shared(source)), layers.Dense(1, name="b")(shared(source))]
        model = fastdl.Model(source, outputs)
        model.compile("sgd", {"a": "sparse_categorical_crossentropy", "b": "mse"}, loss_weights={"a": 2.0, "b": 0.5})
        both.append(model.evaluate(x, {"a": y, "b": y / 2}, return_dict=True))
    activity = np.abs(fastdl.Sequential([fastdl.Input((9,)), shared]).predict(x)).sum() * 0.01 / len(x)
    more = both[1]["loss"] - both[0]["loss"]
    assert more == pytest.approx(model.losses[0] + 2 * activity, rel=1e-5)  # it acts twice
    assert [both[0][name] for name in ("a_loss", "b_loss")] == [both[1][name] for name in ("a_loss", "b_loss")]
    assert len(model.losses) == 1


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_shared_weights_are_regularized_once(optimizer: str) -> None:
    """A layer used twice, beside the same penalty in numpy on the sum of both gradients."""
    after = []
    for regularizer in ("l2", squares):
        fastdl.utils.set_random_seed(3)
        source = fastdl.Input((9,))
        dense = layers.Dense(9, "tanh", kernel_regularizer=regularizer, kernel_constraint=constraints.MaxNorm(0.8))
        model = fastdl.Model(source, layers.Dense(3, "softmax")(dense(dense(source))))
        model.compile(OPTIMIZERS[optimizer](), "sparse_categorical_crossentropy")
        losses = [model.train_on_batch(*data(70)) for _ in range(4)]
        after.append((losses, dense.get_weights()[0]))
    assert after[0][0] == pytest.approx(after[1][0], rel=1e-5)
    np.testing.assert_allclose(after[0][1], after[1][1], rtol=1e-3, atol=1e-5)


def test_nothing_is_emitted_when_nothing_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A net without penalties and constraints runs none of their kernels, and the plain step."""
    seen: list[tuple[str, Any]] = []
    emit = Builder.emit
    monkeypatch.setattr(Builder, "emit", lambda self, kernel, **o: (seen.append((kernel, o)), emit(self, kernel, **o)))
    net().fit(*data(), batch_size=100, verbose=0)
    assert not {"weight_penalty", "activity_penalty", "limit_norm", "not_negative", "add_parts"} & {k for k, _ in seen}
    assert {arguments["prepare"] for kernel, arguments in seen if kernel == "dense_weight_step"} == {0}
    assert "Penalty" in Op.registry


def test_models_share_and_copy_them() -> None:
    model = net(**OPTIONS["everything"])
    for weight, other in zip(model.weights, clone_model(model).weights, strict=True):
        assert type(weight.regularizer) is type(other.regularizer)
        assert type(weight.constraint) is type(other.constraint)
    assert sum(weight.regularizer is not None for weight in model.weights) == 2
    assert sum(weight.constraint is not None for weight in model.weights) == 2


def wrong(**options: Any) -> Callable[[], Any]:
    return lambda: net(**options).fit(*data(), verbose=0)


WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "name": (lambda: regularizers.get("l3"), ValueError, "unknown regularizer 'l3': choose one of L1, L2"),
    "constraint": (lambda: constraints.get("max"), ValueError, "unknown constraint 'max': did you mean 'MaxNorm'"),
    "class": (lambda: regularizers.get(int), ValueError, "unknown regularizer"),  # type: ignore[arg-type]
    "config": (lambda: constraints.get({"class_name": "Eval", "config": {}}), ValueError, "unknown class 'Eval'"),
    "strength": (lambda: regularizers.L2(-0.1), ValueError, "l2 must be a finite number, zero or more, not -0.1"),
    "nan": (lambda: regularizers.L1(float("nan")), ValueError, "l1 must be a finite number"),
    "norm": (lambda: constraints.MaxNorm(-1), ValueError, "max_value must be a finite number"),
    "between": (lambda: constraints.MinMaxNorm(2, 1), ValueError, "min_value must not lie above max_value"),
    "rate": (lambda: constraints.MinMaxNorm(rate=2), ValueError, r"rate must lie in \[0, 1\]"),
    "axis": (wrong(bias_constraint=constraints.MaxNorm(1, 1)), ValueError, "dense.*/bias: MaxNorm along axis 1"),
    "activity": (lambda: net(activity_regularizer=Cubes()), ValueError, "activity_regularizer must be L1, L2 or L1L2"),
    "no gradient": (
        wrong(kernel_regularizer=lambda w: 0.0),
        TypeError,
        "must be made of fastdl.ops, or give its gradient",
    ),
    "gradient": (wrong(kernel_regularizer=lambda w: (0.0, w[0])), ShapeError, r"kernel must have shape \(9, 40\)"),
    "unfinished": (wrong(kernel_regularizer=regularizers.Regularizer()), TypeError, "must be made of fastdl.ops"),
    "shape": (wrong(kernel_constraint=lambda w: w[0]), ShapeError, r"must keep the shape \(9, 40\)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_say_what_is_wrong(name: str) -> None:
    call, kind, message = WRONG[name]
    with pytest.raises(kind, match=message):
        call()


def test_a_lambda_cannot_be_saved(tmp_path: Any) -> None:
    model = net(kernel_regularizer=lambda w: squares(w))
    with pytest.raises(ValueError, match="its kernel_regularizer cannot be told in words"):
        model.save(tmp_path / "model.fastdl")
