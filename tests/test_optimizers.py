"""Optimizers as objects: configs, slots by name, exceptions from decay, and the same training whatever the threads."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers, optimizers, schedules
from fastdl.models import engine

Array = np.ndarray[Any, Any]
every = pytest.mark.parametrize("name", optimizers.CLASSES)


def net(optimizer: Any, dtype: str = "float32") -> fastdl.Sequential:
    fastdl.utils.set_random_seed(3)
    model = fastdl.Sequential(
        [
            fastdl.Input((9,)),
            layers.Dense(40, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(3, activation="softmax"),
        ],
        dtype=dtype,
    )
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


def data(rows: int = 700) -> tuple[Array, Array]:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((rows, 9))
    return x, (x @ rng.standard_normal((9, 3))).argmax(1)


@every
def test_by_name_class_and_config(name: str) -> None:
    kind = optimizers.CLASSES[name]
    for given in (name, name.lower(), kind, kind(), {"class_name": name.lower(), "config": {}}):
        assert type(optimizers.get(given)) is kind
    assert optimizers.get(None) is None
    made = kind(0.5, weight_decay=0.25, clipnorm=2.0, name="mine")
    again = optimizers.get(optimizers.serialize(made))
    assert again.get_config() == made.get_config()
    assert (again.learning_rate, again.weight_decay, again.clipnorm, again.name) == (0.5, 0.25, 2.0, "mine")


def test_a_schedule_survives_the_config() -> None:
    made = optimizers.Nadam(schedules.ExponentialDecay(0.1, 10, 0.5))
    again = optimizers.Nadam.from_config(made.get_config())
    again.iterations = 10
    assert again.learning_rate == pytest.approx(0.05)


def test_slots_begin_with_their_first_value() -> None:
    for made, value in ((optimizers.Adagrad(initial_accumulator_value=0.25), 0.25), (optimizers.Adam(), 0.0)):
        model = net(made)
        made.build(model.trainable_weights)
        slots = [each for each in made.kept if each.shape]
        assert len(slots) >= len(model.trainable_weights)
        assert all((slot.numpy() == value).all() for slot in slots)


def test_default_is_rmsprop() -> None:
    model = fastdl.Sequential([fastdl.Input((2,)), layers.Dense(1)])
    model.compile(loss="mse")
    assert isinstance(model.optimizer, optimizers.RMSprop)


OF_KERNELS = {"Adafactor": ("row", "column"), "Muon": ("momentum",)}


@every
def test_slots_by_name_go_out_and_in(name: str) -> None:
    """Weights, slots and the step number put into another model continue with the same bits."""
    x, y = data(200)
    kind = optimizers.CLASSES[name]
    one, other = net(kind(use_ema=True, ema_overwrite_frequency=4)), net(kind(use_ema=True, ema_overwrite_frequency=4))
    for _ in range(5):
        one.train_on_batch(x, y)
    other.train_on_batch(x, y)  # which makes its slots
    assert one.optimizer is not None
    assert other.optimizer is not None
    other.set_weights(one.get_weights())
    other.optimizer.iterations = one.optimizer.iterations
    sources = [variable.numpy() for variable in one.optimizer.variables]
    assert [variable.path for variable in one.optimizer.variables[:2]] == [
        f"{one.optimizer.name}/iteration",
        f"{one.optimizer.name}/learning_rate",
    ]
    kept = [len(one.optimizer.slots(weight)) + 1 for weight in one.trainable_weights]  # and the average
    assert len(sources) == 2 + sum(kept)
    suffixes = {slot.path.rpartition("_kernel_")[2] for slot in one.optimizer.variables if "_kernel_" in slot.path}
    assert suffixes == {*OF_KERNELS.get(name, one.optimizer.slot_names), "average"}
    for slot, values in zip(other.optimizer.variables, sources, strict=True):
        slot.assign(values)
    for _ in range(5):
        assert one.train_on_batch(x, y) == other.train_on_batch(x, y)


def test_decay_alone_shrinks_what_is_not_excluded() -> None:
    x, y = data(64)
    model = net(optimizers.SGD(0.5, weight_decay=0.5))
    assert model.optimizer is not None
    frozen, gamma = model.layers[0].weights[0], model.layers[1].weights[0]
    model.optimizer.exclude_from_weight_decay([frozen], ["bias", "gam"])
    plain = net(optimizers.SGD(0.5))
    plain.set_weights(model.get_weights())
    before = model.get_weights()
    model.train_on_batch(x, y)
    plain.train_on_batch(x, y)
    for parameter, old, new, moved in zip(model.weights, before, model.get_weights(), plain.get_weights(), strict=True):
        decays = parameter.trainable and parameter not in (frozen, gamma) and parameter.name != "bias"
        np.testing.assert_allclose(new, moved - 0.25 * old if decays else moved, atol=1e-6)
    assert sum(model.optimizer.decay(parameter) > 0 for parameter in model.trainable_weights) == 2
    with pytest.raises(ValueError, match="before training begins"):
        model.optimizer.exclude_from_weight_decay(var_names=["kernel"])


def test_norm_is_of_the_whole_gradient_and_no_padding() -> None:
    """A step of rate 1 is as long as the limit."""
    x, y = data(300)
    for options, of in (({"clipnorm": 1e-3}, 1), ({"global_clipnorm": 1e-3}, 0)):
        model = net(optimizers.SGD(1.0, **options), "float64")
        before = model.trainable_weights, [weight.numpy() for weight in model.trainable_weights]
        model.train_on_batch(x, y)
        lengths = [np.linalg.norm(new.numpy() - old) for new, old in zip(*before, strict=True)]
        assert lengths == pytest.approx([1e-3] * 6) if of else math.hypot(*lengths) == pytest.approx(1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"clipnorm": 0.01},
        {"global_clipnorm": 0.02},
        {"clipvalue": 0.001, "weight_decay": 0.1},
        {"use_ema": True, "ema_overwrite_frequency": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("batch", [1, 50, 300, 1100])
def test_threads_change_no_bit(options: Any, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = optimizers.AdamW if "weight_decay" in options else optimizers.Adam
    same_whatever_the_threads(lambda: kind(0.01, **options), batch, monkeypatch)


@pytest.mark.parametrize("options", [{}, {"global_clipnorm": 0.02, "gradient_accumulation_steps": 2}], ids=str)
@pytest.mark.parametrize("batch", [1, 50, 1100])
@every
def test_threads_change_no_bit_of_any(
    name: str, batch: int, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    same_whatever_the_threads(lambda: optimizers.CLASSES[name](0.01, **options), batch, monkeypatch)


def same_whatever_the_threads(
    make: Callable[[], optimizers.Optimizer], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.Pace, "plan", lambda self, left, **_: engine.Plan(fastdl.get_num_threads(), left))
    results = []
    for threads in (1, 2, 3):
        fastdl.set_num_threads(threads)
        model = net(make())
        model.fit(*data(max(20, 2 * batch)), batch_size=batch, epochs=1, verbose=0)
        results.append(model.get_weights())
    fastdl.set_num_threads(None)
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("batch", [20, 200, 400])
@every
def test_fused_and_separate_steps_agree(name: str, batch: int) -> None:
    """An unreachable global norm keeps gradient and step apart; what is fused must do the same."""
    x, y = data(batch)
    fused, apart = (net(optimizers.CLASSES[name](0.01, weight_decay=0.1, **o), "float64") for o in ({}, FAR))
    apart.set_weights(fused.get_weights())
    for _ in range(3):
        fused.train_on_batch(x, y)
        apart.train_on_batch(x, y)
    for a, b in zip(fused.get_weights(), apart.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


FAR = {"global_clipnorm": 1e9}

WRONG: dict[str, tuple[Any, str]] = {
    "two clips": (lambda: optimizers.SGD(clipnorm=1, clipvalue=1), "exclude each other"),
    "negative clip": (lambda: optimizers.Adam(clipvalue=-1), "clipvalue must be"),
    "decay nan": (lambda: optimizers.Adam(weight_decay=math.nan), "weight_decay must be"),
    "adamw": (lambda: optimizers.AdamW(weight_decay=None), "Adam is the one without"),  # type: ignore[arg-type]
    "ema": (lambda: optimizers.Lion(use_ema=True, ema_momentum=1.5), "ema_momentum"),
    "frequency": (lambda: optimizers.Lion(use_ema=True, ema_overwrite_frequency=0), "ema_overwrite_frequency"),
    "rho": (lambda: optimizers.RMSprop(rho=1), "rho must lie in"),
    "lion": (lambda: optimizers.Lion(beta_1=0), "gradient's sign"),
    "ftrl power": (lambda: optimizers.Ftrl(learning_rate_power=0.1), "learning_rate_power must be"),
    "ftrl l1": (lambda: optimizers.Ftrl(l1_regularization_strength=-1), "l1_regularization_strength must be"),
    "adafactor": (lambda: optimizers.Adafactor(clip_threshold=0), "clip_threshold must be above zero"),
    "schedule-free": (lambda: optimizers.ScheduleFreeAdamW(beta_1=0), "beta_1 must lie in"),
    "muon": (lambda: optimizers.Muon(ns_steps=1.5), "ns_steps must be"),  # type: ignore[arg-type]
    "muon decay": (lambda: optimizers.Muon(weight_decay=schedules.FlatCosine(0.1, 9)), "it has two"),  # type: ignore[arg-type]
    "one batch": (lambda: optimizers.SGD(gradient_accumulation_steps=1), "gradient_accumulation_steps must be"),
    "scale": (lambda: optimizers.SGD(loss_scale_factor=0), "loss_scale_factor must be above zero"),
    "config": (lambda: optimizers.get({"class_name": "Adamantium"}), "unknown class"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_say_what_is_wrong(name: str) -> None:
    call, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        call()
