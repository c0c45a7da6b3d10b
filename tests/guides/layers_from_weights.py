"""Layers by subclassing: weights made in build, in __init__, and not trained; layers made of layers."""

import keras
import numpy as np
from keras import ops


class Linear(keras.layers.Layer):
    def __init__(self, units=32, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="random_normal", trainable=True)
        self.b = self.add_weight(shape=(self.units,), initializer="random_normal", trainable=True)

    def call(self, inputs):
        return ops.matmul(inputs, self.w) + self.b

    def get_config(self):
        config = super().get_config()
        config.update({"units": self.units})
        return config


class MLPBlock(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.linear_1 = Linear(32)
        self.linear_2 = Linear(32)
        self.linear_3 = Linear(1)

    def call(self, inputs):
        x = ops.relu(self.linear_1(inputs))
        x = ops.relu(self.linear_2(x))
        return self.linear_3(x)


class Standardized(keras.layers.Layer):
    """Inputs by a fixed scale, which is kept and not trained."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", trainable=False)

    def call(self, inputs):
        return inputs * self.scale


x = np.ones((2, 2), dtype="float32")
layer = Linear(4)
y = ops.convert_to_numpy(layer(x))
assert y.shape == (2, 4)
assert len(layer.weights) == 2
w, b = layer.get_weights()
assert np.allclose(y, x @ w + b, atol=1e-6)

mlp = MLPBlock()
assert tuple(mlp(np.ones((3, 64), dtype="float32")).shape) == (3, 1)
assert len(mlp.weights) == 6
assert len(mlp.trainable_weights) == 6

rng = np.random.default_rng(0)
data, target = rng.normal(size=(256, 5)).astype("float32"), rng.normal(size=(256, 1)).astype("float32")
model = keras.Sequential([keras.Input((5,)), Standardized(), MLPBlock()])
model.compile("adam", "mse")
history = model.fit(data, target, epochs=5, verbose=0).history["loss"]
assert history[-1] < history[0]
assert len(model.non_trainable_weights) == 1
again = Linear.from_config(layer.get_config())
assert again.units == 4
