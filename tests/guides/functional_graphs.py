"""The functional API: branches, shared layers, operators between tensors, models as layers."""

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
a, b = rng.normal(size=(2, 256, 6)).astype("float32")
y = np.sum(a * b, axis=1, keepdims=True)

left, right = keras.Input((6,), name="left"), keras.Input((6,), name="right")
encoder = keras.Sequential([keras.Input((6,)), layers.Dense(16, activation="relu"), layers.Dense(8)], name="encoder")
code_left, code_right = encoder(left), encoder(right)
product = code_left * code_right
distance = ops.sum(ops.square(code_left - code_right), axis=-1, keepdims=True)
merged = layers.concatenate([product, distance, ops.mean(product, axis=-1, keepdims=True)])
outputs = layers.Dense(1)(merged)
model = keras.Model([left, right], outputs)
assert len(encoder.weights) == 4
assert len(model.trainable_weights) == 6, "the encoder's weights are shared"
model.compile(keras.optimizers.Adam(0.01), "mse")
history = model.fit([a, b], y, epochs=15, batch_size=32, verbose=0).history["loss"]
assert history[-1] < 0.5 * history[0], history

features = keras.Model([left, right], product)
assert features.predict([a, b], verbose=0).shape == (256, 8)
clone = keras.models.clone_model(model)
clone.set_weights(model.get_weights())
assert np.allclose(clone.predict([a, b], verbose=0), model.predict([a, b], verbose=0), atol=1e-5)
