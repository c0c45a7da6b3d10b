"""Nets for tables, from a recipe: numbers, flags and codes in; probabilities, or standardised numbers, out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastdl import initializers, layers, losses, optimizers, schedules
from fastdl.base.arrays import Array
from fastdl.base.naming import unknown
from fastdl.initialization import initialize_from_data
from fastdl.models import Model
from fastdl.models.functional import Functional
from fastdl.tabular.recipes import CLASSES, Recipe

# Factors of the learning rate and of weight decay: pytabkit multiplies a factor of the rate into decay twice.
SCALE = {"learning_rate_factors": {"scale": 6.0}, "weight_decay_factors": {"scale": 36.0}}
SCHEDULES = "log_cosine", "constant"
FIRST_ROWS = 2048  # that first weights are made for
SLOW = 0.1  # the learning rate of biases, mixtures and periodic encodings, over that of weights


@dataclass(frozen=True)
class Inputs:
    """What a net reads of each row: how many numbers and flags, and for each category its codes."""

    numbers: int
    flags: int
    sizes: tuple[int, ...] = ()

    def tensors(self) -> dict[str, Any]:
        """Symbolic inputs by name; none for what a table does not have."""
        widths = {"numbers": self.numbers, "flags": self.flags, "codes": len(self.sizes)}
        return {name: layers.Input((width,), name=name) for name, width in widths.items() if width}


@dataclass(frozen=True)
class Net:
    """`trained` learns; `model` answers. The two share all layers, and are one where there is one member."""

    trained: Model
    model: Model


def make(recipe: Recipe, inputs: Inputs, task: str, outputs: int, steps: int) -> Net:
    """A net for rows of this kind: `outputs` probabilities, or standardised numbers. steps: of its whole training."""
    tensors = inputs.tensors()
    x = _encoded(recipe, inputs, tensors)
    several = recipe.members > 1
    if several:
        x = layers.RepeatVector(recipe.members, name="members")(x)
        x = layers.EnsembleScale(name="member_scale")(x)
    elif recipe.scaling:
        x = layers.Scale(name="scale", **SCALE)(x)
    for i, units in enumerate(recipe.hidden_layer_sizes, 1):
        x = _dense(recipe, x, units, f"dense_{i}")
        x = _activated(recipe, x, f"activation_{i}")
        if recipe.dropout:
            x = layers.Dropout(schedules.FlatCosine(recipe.dropout, steps), name=f"dropout_{i}")(x)
    last = layers.EnsembleDense(outputs, name="output") if several else None
    x = last(x) if last else _dense(recipe, x, outputs, "output", last=True)
    if task == CLASSES:
        x = layers.Softmax(name="probabilities")(x)
    trained = Functional(list(tensors.values()), x, name="net")
    if not several:
        return Net(trained, trained)
    return Net(
        trained, Functional(list(tensors.values()), layers.GlobalAveragePooling1D(name="mean")(x), name="mean_net")
    )


def _encoded(recipe: Recipe, inputs: Inputs, tensors: dict[str, Any]) -> Any:
    """All inputs as one tensor of features."""
    parts = []
    if "numbers" in tensors:
        numbers = tensors["numbers"]
        if recipe.numeric_encoding == "pbld":
            encoding = layers.PeriodicEmbedding(
                recipe.encoding_size,
                recipe.frequencies,
                recipe.frequency_scale,
                name="periodic",
                **_slow(["frequencies", "phases", "kernel", "bias"]),
            )
            numbers = encoding(numbers)
        parts.append(numbers)
    if "flags" in tensors:
        parts.append(tensors["flags"])
    if "codes" in tensors:
        sizes = recipe.embedding_size, _normal(1.0)
        embedding = layers.CategoryEmbedding(inputs.sizes, *sizes, zero_missing=True, name="categories")
        parts.append(embedding(tensors["codes"]))
    return layers.Concatenate(name="features")(parts) if len(parts) > 1 else parts[0]


def _normal(deviation: float) -> Any:
    return initializers.RandomNormal(stddev=deviation)


def _slow(names: Sequence[str]) -> dict[str, Any]:
    """Options of a layer whose weights learn slowly, and decay by the square of that."""
    return {
        "learning_rate_factors": dict.fromkeys(names, SLOW),
        "weight_decay_factors": dict.fromkeys(names, SLOW * SLOW),
    }


def _dense(recipe: Recipe, x: Any, units: int, name: str, last: bool = False) -> Any:
    """A dense layer in the parametrization of neural tangents: its weights are of variance 1 / inputs, and so are their
    steps."""
    width = x.shape[-1]
    root = 1 / math.sqrt(width)
    zero = last and recipe.zero_last
    return layers.Dense(
        units,
        kernel_initializer="zeros" if zero else _normal(root),
        bias_initializer="zeros" if zero else _normal(1.0),
        learning_rate_factors={"kernel": root, "bias": SLOW},
        weight_decay_factors={"bias": 0.0},
        name=name,
    )(x)


def _activated(recipe: Recipe, x: Any, name: str) -> Any:
    if recipe.parametric and recipe.members == 1:
        return layers.ParametricActivation(recipe.activation, name=name, **_slow(["alpha"]))(x)
    return layers.Activation(recipe.activation, name=name)(x)


def compile_net(net: Net, recipe: Recipe, task: str, steps: int) -> None:
    """Adam whose rate rises and falls four times, and decay that falls to zero in the second half."""
    if recipe.schedule not in SCHEDULES:
        raise ValueError(unknown("schedule", recipe.schedule, SCHEDULES))
    rising = recipe.schedule == "log_cosine"
    optimizer = optimizers.AdamW(
        schedules.LogCosine(recipe.learning_rate, steps) if rising else recipe.learning_rate,
        weight_decay=schedules.FlatCosine(recipe.weight_decay, steps) if recipe.weight_decay else 0.0,
        beta_2=recipe.beta_2,
        epsilon=1e-8,
    )
    loss: losses.Loss = losses.MeanSquaredError()
    if task == CLASSES:
        loss = losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    net.trained.compile(optimizer, loss)


def prepare(net: Net, recipe: Recipe, x: Sequence[Array]) -> None:
    """First weights such that on these rows each unit has variance 1, and bends somewhere among them."""
    if recipe.data_driven:
        initialize_from_data(net.trained, list(x) if len(x) > 1 else x[0], sample_size=FIRST_ROWS)


def steps_of(rows: int, batch_size: int) -> int:
    """Steps of an epoch: as many batches of about this size as the rows make up."""
    return max(1, round(rows / batch_size))


def even_batch(rows: int, batch_size: int) -> int:
    """The batch size by which an epoch's batches are all of about one size."""
    return -(-rows // steps_of(rows, batch_size))


def combined(
    models: Sequence[Model], shares: Sequence[float], inputs: Inputs, units: tuple[Array, Array] | None
) -> Model:
    """One model of several: their answers, each times its share, in the units of the target.

    units: mean and deviation of each output, or None.
    """
    tensors = list(inputs.tensors().values())
    x: Any = tensors if len(tensors) > 1 else tensors[0]
    answers = [model(x) for model in models]
    answer = answers[0] if len(answers) == 1 else layers.Average(list(shares), name="ensemble")(answers)
    if units is not None:
        mean, deviation = units
        answer = layers.Normalization(-1, mean, deviation**2, invert=True, name="units")(answer)
    return Functional(tensors, answer, name="table")
