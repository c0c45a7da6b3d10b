"""add_loss: a layer that penalizes its activity, and a model whose only loss a layer adds."""

import keras
import numpy as np
from keras import layers, ops


class ActivityRegularization(keras.layers.Layer):
    def __init__(self, rate=1e-2):
        super().__init__()
        self.rate = rate

    def call(self, inputs):
        self.add_loss(self.rate * ops.mean(inputs))
        return inputs


class Reconstruction(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.decoder = layers.Dense(6)

    def call(self, inputs):
        code, original = inputs
        restored = self.decoder(code)
        self.add_loss(ops.mean(ops.square(restored - original)))
        return restored


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 6)).astype("float32")
inputs = keras.Input(shape=(6,))
outputs = layers.Dense(1)(ActivityRegularization(0.5)(inputs))
model = keras.Model(inputs, outputs)
model.compile(optimizer="sgd", loss="mse")
y = np.zeros((256, 1), "float32")
loss = model.evaluate(x, y, batch_size=256, verbose=0)
assert np.isclose(loss, np.mean(model.predict(x, verbose=0) ** 2) + 0.5 * np.mean(x), atol=1e-5)

inputs = keras.Input(shape=(6,))
code = layers.Dense(3, activation="tanh")(inputs)
model = keras.Model(inputs, Reconstruction()([code, inputs]))
model.compile(optimizer=keras.optimizers.Adam(0.01))
history = model.fit(x, epochs=10, batch_size=32, verbose=0).history["loss"]
assert history[-1] < 0.8 * history[0]
