"""A mixture of experts: softmax gates over dense experts, stacked and summed by ops."""

import keras
import numpy as np
from keras import layers, ops


class Mixture(keras.layers.Layer):
    def __init__(self, units, experts=3, **kwargs):
        super().__init__(**kwargs)
        self.gate = layers.Dense(experts, activation="softmax")
        self.experts = [layers.Dense(units, activation="relu") for _ in range(experts)]

    def call(self, inputs):
        answers = ops.stack([expert(inputs) for expert in self.experts], axis=1)
        weights = ops.expand_dims(self.gate(inputs), axis=-1)
        return ops.sum(weights * answers, axis=1)


rng = np.random.default_rng(0)
x = rng.normal(size=(400, 4)).astype("float32")
y = np.where(x[:, :1] > 0, x[:, 1:2] ** 2, -x[:, 2:3]).astype("float32")
inputs = keras.Input((4,))
model = keras.Model(inputs, layers.Dense(1)(Mixture(8)(inputs)))
model.compile(keras.optimizers.Adam(0.01), "mse", metrics=[keras.metrics.RootMeanSquaredError()])
history = model.fit(x, y, epochs=30, batch_size=32, verbose=0, validation_split=0.2).history
assert history["val_root_mean_squared_error"][-1] < 0.8 * history["val_root_mean_squared_error"][0]
assert len(model.trainable_weights) == 10
