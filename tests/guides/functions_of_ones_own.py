"""Activations, initializers, penalties and constraints as functions; a schedule as a class."""

import keras
import numpy as np
from keras import layers, ops


def swish_of_ones_own(x):
    return x * ops.sigmoid(x)


def small(shape, dtype=None):
    return 0.1 * np.ones(shape, dtype=dtype or "float32")


def l1_of_ones_own(w):
    return 0.01 * ops.sum(ops.absolute(w))


class Orthogonal(keras.regularizers.Regularizer):
    def __call__(self, x):
        gram = ops.matmul(ops.transpose(x), x)
        return 0.01 * ops.sum(ops.square(gram - ops.convert_to_tensor(np.eye(6, dtype="float32"))))


class Bounded(keras.constraints.Constraint):
    def __call__(self, w):
        return ops.clip(w, -0.2, 0.2)


class Halving(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, initial, steps):
        self.initial, self.steps = initial, steps

    def __call__(self, step):
        return self.initial * 0.5 ** ops.floor(ops.cast(step, "float32") / self.steps)


rng = np.random.default_rng(0)
x, y = rng.normal(size=(256, 4)).astype("float32"), rng.normal(size=(256, 1)).astype("float32")
model = keras.Sequential(
    [
        keras.Input((4,)),
        layers.Dense(6, activation=swish_of_ones_own, kernel_initializer=small, kernel_regularizer=l1_of_ones_own),
        layers.Dense(6, kernel_regularizer=Orthogonal(), kernel_constraint=Bounded()),
        layers.Dense(1),
    ]
)
assert np.allclose(model.get_weights()[0], 0.1)
model.compile(keras.optimizers.SGD(Halving(0.05, 20)), "mse")
history = model.fit(x, y, epochs=5, batch_size=32, verbose=0).history["loss"]
assert history[-1] < history[0]
assert np.abs(model.get_weights()[2]).max() <= 0.2 + 1e-6
