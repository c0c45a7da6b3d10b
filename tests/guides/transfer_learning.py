"""Transfer: a trained body is frozen under a new head, then all of it is tuned at a low rate."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x = rng.normal(size=(400, 10)).astype("float32")
first, second = np.argmax(x[:, :3], axis=1), (x[:, 0] > x[:, 1]).astype("float32")[:, None]

body = keras.Sequential([keras.Input((10,)), layers.Dense(32, activation="relu"), layers.BatchNormalization()])
model = keras.Sequential([body, layers.Dense(3, activation="softmax")])
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(x, first, epochs=10, verbose=0)

body.trainable = False
inputs = keras.Input((10,))
outputs = layers.Dense(1, activation="sigmoid")(layers.Dropout(0.1)(body(inputs, training=False)))
tuned = keras.Model(inputs, outputs)
assert len(tuned.trainable_weights) == 2
before = [w.copy() for w in body.get_weights()]
tuned.compile(keras.optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
tuned.fit(x, second, epochs=10, verbose=0)
assert all(np.array_equal(a, b) for a, b in zip(before, body.get_weights(), strict=True)), "a frozen body does not move"

body.trainable = True
assert len(tuned.trainable_weights) == 6
tuned.compile(keras.optimizers.Adam(1e-4), "binary_crossentropy", metrics=["accuracy"])
history = tuned.fit(x, second, epochs=5, verbose=0).history
assert not np.array_equal(before[0], body.get_weights()[0])
assert history["accuracy"][-1] > 0.7
