"""A loss as a function of ops, and one that calls a built-in."""

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(512, 8)).astype("float32")
y = (x @ rng.normal(size=(8, 2))).astype("float32")


def custom_mean_squared_error(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def robust(y_true, y_pred):
    error = ops.abs(y_true - y_pred)
    return ops.mean(ops.where(error < 1.0, 0.5 * ops.square(error), error - 0.5), axis=-1)


def with_a_built_in(y_true, y_pred):
    return keras.losses.mean_absolute_error(y_true, y_pred) + 0.1 * robust(y_true, y_pred)


for loss in (custom_mean_squared_error, robust, with_a_built_in):
    model = keras.Sequential([keras.Input((8,)), layers.Dense(16, activation="relu"), layers.Dense(2)])
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=loss)
    history = model.fit(x, y, batch_size=32, epochs=5, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0], history
