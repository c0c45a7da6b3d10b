"""LayerStatistics: its numbers beside float64 formulas, what it says of sick nets, and that it leaves no trace."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers, optimizers, plots
from fastdl.callbacks import LayerStatistics
from fastdl.diagnosis import layer_statistics as inspection
from fastdl.diagnosis.layer_statistics import Snapshot, layer_statistics
from fastdl.errors import DataError, ShapeError

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(7)
X = RNG.standard_normal((150, 6))
LABELS = RNG.integers(0, 3, 150)


def net(*hidden: layers.Layer, optimizer: Any = "sgd", dtype: str = "float32") -> fastdl.Sequential:
    fastdl.utils.set_random_seed(3)
    model = fastdl.Sequential([fastdl.Input((6,)), *hidden, layers.Dense(3, activation="softmax")], dtype=dtype)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def same(a: fastdl.Sequential, b: fastdl.Sequential) -> bool:
    return all(np.array_equal(v, w, equal_nan=True) for v, w in zip(a.get_weights(), b.get_weights(), strict=True))


# -- its numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_numbers_are_those_of_float64_formulas(momentum: float) -> None:
    model = net(
        layers.Dense(5, "tanh"), layers.Dense(4, "relu"), optimizer=optimizers.SGD(0.3, momentum), dtype="float64"
    )
    w1, b1, w2, b2, w3, b3 = model.get_weights()
    first, second, third = layer_statistics(model, X, LABELS).layers
    a1 = np.tanh(X @ w1 + b1)
    a2 = np.maximum(a1 @ w2 + b2, 0)
    e = np.exp(a2 @ w3 + b3)
    p = e / e.sum(1, keepdims=True)
    d3 = (p - np.eye(3)[LABELS]) / len(X)
    d2 = d3 @ w3.T * (a2 > 0)
    d1 = d2 @ w2.T * (1 - a1**2)
    rows = (first, a1, X, d1, w1), (second, a2, a1, d2, w2), (third, p, a2, d3, w3)
    for record, output, below, delta, kernel in rows:
        norm = np.sqrt(np.square(below.T @ delta).sum() + np.square(delta.sum(0)).sum())
        measured = [record.mean, record.std, record.gradient_norm, record.update_ratio]
        expected = [output.mean(), output.std(), norm, 0.3 * norm / np.linalg.norm(kernel)]  # biases are zero
        np.testing.assert_allclose(measured, expected, rtol=1e-10, atol=1e-15)
    assert (first.dead, second.saturated, third.dead) == (None, None, None)
    assert second.dead == (a2 <= 0).all(0).mean()
    assert first.saturated == (np.abs(a1) >= 0.98).mean()


def test_the_update_is_the_optimizers_own_next_step() -> None:
    """Adam with momenta already grown, on the same rows: what the next training step does to the weights."""
    model = net(layers.Dense(5, "selu"), optimizer=optimizers.Adam(0.01, clipnorm=0.1))
    model.fit(X, LABELS, epochs=3, verbose=0)
    records = layer_statistics(model, X, LABELS).layers
    before = [layer.get_weights() for layer in model.layers]
    model.train_on_batch(X, LABELS)
    for record, layer, old in zip(records, model.layers, before, strict=True):
        moved = np.concatenate([(n - o).ravel() for n, o in zip(layer.get_weights(), old, strict=True)])
        size = np.linalg.norm(np.concatenate([o.ravel() for o in old]))
        assert record.update_ratio == pytest.approx(np.linalg.norm(moved) / size, rel=1e-5)


def test_the_gradient_is_the_raw_one_whatever_is_clipped() -> None:
    free, clipped = (
        layer_statistics(net(layers.Dense(5, "tanh"), optimizer=optimizers.SGD(**options)), X, LABELS)
        for options in ({}, {"global_clipnorm": 1e-3})
    )
    for one, other in zip(free.layers, clipped.layers, strict=True):
        assert one.gradient_norm == other.gradient_norm
        assert one.update_ratio > 2 * other.update_ratio  # type: ignore[operator]


def test_weighted_samples_count_by_their_weight() -> None:
    model = net(layers.Dense(5, "tanh"), dtype="float64")
    weights = np.repeat([2.0, 0.0], 75)
    weighted, half = layer_statistics(model, X, LABELS, weights), layer_statistics(model, X[:75], LABELS[:75])
    for one, other in zip(weighted.layers, half.layers, strict=True):
        assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-10)


def test_layers_that_compute_nothing_are_left_out_and_frozen_ones_have_no_gradient() -> None:
    model = fastdl.Sequential(
        [
            fastdl.Input((2, 3)),
            *(layers.Flatten(), layers.Dense(4, name="frozen", trainable=False), layers.ReLU(name="relu")),
            *(layers.Dropout(0.5), layers.BatchNormalization(name="norm"), layers.Dense(3, name="logits")),
        ]
    )
    model.compile("sgd", fastdl.losses.SparseCategoricalCrossentropy(from_logits=True))
    records = {record.name: record for record in layer_statistics(model, X.reshape(-1, 2, 3), LABELS).layers}
    assert list(records) == ["frozen", "relu", "norm", "logits"]
    assert records["frozen"].gradient_norm is records["frozen"].update_ratio is records["relu"].gradient_norm is None
    assert records["norm"].gradient_norm is not None
    assert records["norm"].std == pytest.approx(1, abs=0.01)  # the batch's statistics, as in training


# -- what it says -----------------------------------------------------------------------------------------


def deep(activation: str, initializer: Any, depth: int = 20) -> fastdl.Sequential:
    return net(*(layers.Dense(50, activation, kernel_initializer=initializer) for _ in range(depth)))


def dying() -> fastdl.Sequential:
    return net(layers.Dense(40, "relu", bias_initializer=fastdl.initializers.Constant(-50.0), name="asleep"))


def growing() -> fastdl.Sequential:
    """Activations begin small and grow; the gradient grows on its way back, and meets large inputs."""
    grow = (layers.Dense(6, kernel_initializer=fastdl.initializers.Identity(6.0)) for _ in range(8))
    small = fastdl.initializers.RandomNormal(stddev=1e-7)
    return net(layers.Dense(6, kernel_initializer=small, name="first"), *grow)


LARGE = fastdl.initializers.RandomNormal(stddev=30.0)
SICK: dict[str, tuple[Callable[[], fastdl.Sequential], str, str]] = {
    "sigmoid, Glorot": (lambda: deep("sigmoid", "glorot_uniform"), "vanishing", r"is \d\.\de-1\d of dense_\d+'s"),
    "tanh, small": (lambda: deep("tanh", "random_uniform"), "vanishing", "hardly learns"),
    "relu, all dead": (lambda: net(layers.Dense(4, "relu", bias_initializer=fastdl.initializers.Constant(-50.0)),
                                   layers.Dense(4, "relu", bias_initializer=fastdl.initializers.Constant(-50.0))),
                       "vanishing", "hardly learns"),
    "relu, too large": (lambda: deep("relu", fastdl.initializers.RandomNormal(stddev=1.0)), "exploding", "own size"),
    "growing backwards": (growing, "exploding", "first .* is far above dense_?\\d*'s"),
    "not finite": (lambda: deep("linear", LARGE, 30), "exploding", "not finite any more"),
    "relu, asleep": (dying, "dying", "asleep: 100% of the units"),
    "tanh, too large": (lambda: net(layers.Dense(9, "tanh", kernel_initializer=LARGE)), "saturating", r"dense\w*: 9"),
    "sigmoid, too large": (lambda: net(layers.Dense(9, "sigmoid", kernel_initializer=LARGE)), "saturating", "limits"),
}  # fmt: skip


@pytest.mark.parametrize("name", SICK)
def test_it_says_what_is_wrong(name: str) -> None:
    make, kind, words = SICK[name]
    found = layer_statistics(make(), X, LABELS)
    assert kind in found.findings
    assert re.search(words, found.findings[kind])
    assert f"{kind}: {found.findings[kind]}" in str(found)


HEALTHY = {
    "selu, LeCun": ("selu", "lecun_normal"),
    "relu, He": ("relu", "he_normal"),
    "tanh, Glorot": ("tanh", "glorot_uniform"),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_nets_are_left_in_peace(name: str) -> None:
    found = layer_statistics(deep(*HEALTHY[name], depth=10), X, LABELS)
    assert found.findings == {}
    assert str(found).endswith("nothing wrong is seen")


def test_twenty_sigmoid_layers_vanish_before_training_and_after(capsys: pytest.CaptureFixture[str]) -> None:
    model, seen = deep("sigmoid", "glorot_uniform"), LayerStatistics()
    model.fit(X, LABELS, epochs=2, validation_data=(X, LABELS), callbacks=seen, verbose=0)
    assert [snapshot.epoch for snapshot in seen.snapshots] == [0, 1, 2]
    assert all("vanishing" in snapshot.findings for snapshot in seen.snapshots)
    norms = [record.gradient_norm for record in seen.snapshots[0].layers]
    assert norms == sorted(norms), "the gradient falls from each layer to the one before it"  # type: ignore[type-var]
    assert norms[0] < 1e-8 * norms[-1]  # type: ignore[operator]
    assert capsys.readouterr().out.count("vanishing, before training: the gradient of ") == 1


# -- no trace ---------------------------------------------------------------------------------------------


OPTIMIZERS: dict[str, Callable[[], optimizers.Optimizer]] = {
    "sgd": optimizers.SGD,
    "momentum": lambda: optimizers.SGD(0.1, 0.9, nesterov=True),
    "adam, averaged": lambda: optimizers.Adam(use_ema=True, ema_overwrite_frequency=3),
    "rmsprop, clipped": lambda: optimizers.RMSprop(centered=True, global_clipnorm=1.0),
    "adamw, schedule": lambda: optimizers.AdamW(fastdl.schedules.ExponentialDecay(0.01, 5, 0.5)),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_is_the_same_to_the_bit(optimizer: str) -> None:
    def trained(*callbacks: LayerStatistics) -> fastdl.Sequential:
        hidden = layers.BatchNormalization(), layers.Dense(8, "relu"), layers.Dropout(0.3), layers.GaussianNoise(0.1)
        model = net(*hidden, optimizer=OPTIMIZERS[optimizer]())
        model.fit(X, LABELS, 16, epochs=3, callbacks=callbacks, verbose=0, validation_split=0.2)
        return model

    seen = LayerStatistics(verbose=0)
    watched, plain = trained(seen), trained()
    assert same(watched, plain)
    assert watched.history is not None
    assert plain.history is not None
    assert watched.history.history == plain.history.history
    assert len(seen.snapshots) == 4
    slots = [[v.numpy() for v in model.optimizer.variables] for model in (watched, plain)]  # type: ignore[union-attr]
    assert all(np.array_equal(a, b) for a, b in zip(*slots, strict=True))


def test_a_look_that_fails_leaves_no_trace_either(monkeypatch: pytest.MonkeyPatch) -> None:
    model, other = (net(layers.BatchNormalization(), layers.Dense(5, "relu")) for _ in range(2))
    original = inspection.Probe._run

    def run(self: Any, *arguments: Any) -> None:
        original(self, *arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(inspection.Probe, "_run", run)
    with pytest.raises(KeyboardInterrupt):
        layer_statistics(model, X, LABELS)
    assert same(model, other)


def test_a_look_at_a_net_that_has_become_nan_keeps_it_so() -> None:
    model = net(layers.Dense(4, "relu"))
    model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])
    before = model.get_weights()
    assert "not finite" in layer_statistics(model, X, LABELS).findings["exploding"]
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before, model.get_weights(), strict=True))


# -- the sample -------------------------------------------------------------------------------------------


def test_the_sample_is_the_validation_data_or_what_is_given() -> None:
    def looked_at(callback: LayerStatistics, **fit: Any) -> Snapshot:
        net(layers.Dense(4, "tanh")).fit(X, LABELS, verbose=0, callbacks=callback, **fit)
        return callback.snapshots[0]

    def whole(rows: Any) -> Snapshot:
        return layer_statistics(net(layers.Dense(4, "tanh")), X[rows], LABELS[rows])

    def numbers(snapshot: Snapshot) -> list[Any]:
        return [(r.mean, r.std, r.gradient_norm, r.update_ratio) for r in snapshot.layers]

    half = slice(75, 150)
    validation = {"validation_data": (X[half], LABELS[half])}
    assert numbers(looked_at(LayerStatistics(), **validation)) == numbers(whole(half))
    assert numbers(looked_at(LayerStatistics(X, LABELS), **validation)) == numbers(whole(slice(150)))
    assert numbers(looked_at(LayerStatistics(X, LABELS, rows=20))) == numbers(whole(slice(20)))
    assert numbers(looked_at(LayerStatistics(rows=10), validation_split=0.5)) == numbers(whole(slice(75, 85)))


WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no sample": (lambda: net().fit(X, LABELS, callbacks=LayerStatistics()), ValueError, "give it x and y, or fit val"),
    "half a sample": (lambda: LayerStatistics(X), ValueError, "both x and y"),
    "no rows": (lambda: LayerStatistics(X, LABELS, rows=0), ValueError, "rows must be positive"),
    "shape": (lambda: layer_statistics(net(), X[:, :2], LABELS), ShapeError, r"x has shape \(150, 2\)"),
    "labels": (lambda: layer_statistics(net(), X, LABELS + 1), DataError, "label 3"),
    "not compiled": (lambda: layer_statistics(fastdl.Sequential([layers.Dense(3)]), X, LABELS), RuntimeError, "comp"),
    "nothing to draw": (lambda: plots.layer_statistics([], "x.png"), ValueError, "no snapshot"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls_say_what_is_wrong(name: str) -> None:
    call, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        call()


def test_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    seen = LayerStatistics(X, LABELS, verbose=0)
    net(layers.Dense(4, "relu"), layers.Dense(4, "tanh")).fit(X, LABELS, epochs=3, verbose=0, callbacks=seen)
    seen.plot(tmp_path / "layers.png")
    broken = layer_statistics(deep("linear", LARGE, 30), X, LABELS)
    plots.layer_statistics(broken, tmp_path / "broken.png")
    for name in ("layers", "broken"):
        assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


def test_axes_are_of_whole_layers_and_hide_no_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """One layer is 1, not 0.96 to 1.04; gradients that hardly differ are drawn on a decade or more."""
    pytest.importorskip("matplotlib")
    drawn: list[Any] = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: drawn.append(figure))
    for count in (0, 2):
        plots.layer_statistics(layer_statistics(net(*(layers.Dense(4) for _ in range(count))), X, LABELS), "x.png")
    for figure, most in zip(drawn, (1, 3), strict=True):
        for axis in figure.axes:
            assert list(axis.get_xticks()) == list(range(1, most + 1))
        low, high = figure.axes[1].get_ylim()
        assert high / low >= 8


def test_a_picture_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    seen = layer_statistics(net(), X, LABELS)
    with pytest.raises(ValueError, match="format"):
        plots.layer_statistics(seen, tmp_path / "x.nothing")
    with pytest.raises(FileNotFoundError, match=r"none/x\.png'"):
        plots.layer_statistics(seen, tmp_path / "none" / "x.png")
    assert list(tmp_path.iterdir()) == []
    plots.layer_statistics(seen, tmp_path / "x.svg")
    assert (tmp_path / "x.svg").read_bytes().startswith(b"<?xml")


def test_a_functional_model_layer_by_layer() -> None:
    """Branches, two outputs with a loss each, and a layer that is used twice."""
    fastdl.utils.set_random_seed(4)
    x = fastdl.Input((6,))
    shared = layers.Dense(6, "relu", name="shared")
    h = layers.Add(name="sum")([shared(x), shared(shared(x))])
    model = fastdl.Model(x, [layers.Dense(3, "softmax", name="label")(h), layers.Dense(1, name="number")(h)])
    model.compile("adam", ["sparse_categorical_crossentropy", "mse"], [1.0, 0.5])
    seen = LayerStatistics(X, [LABELS, X[:, :1]], verbose=0)
    model.fit(X, [LABELS, X[:, :1]], epochs=2, callbacks=seen, verbose=0)
    assert {record.name for record in seen.snapshots[-1].layers} == {"shared", "label", "number"}
    assert all(record.gradient_norm for record in seen.snapshots[-1].layers)
    assert sum(record.last for record in seen.snapshots[-1].layers) == 2
