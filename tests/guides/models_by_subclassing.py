"""A model by subclassing, with dropout that heeds training, and a residual block."""

import keras
import numpy as np
from keras import layers, ops


class ResidualBlock(keras.layers.Layer):
    def __init__(self, units):
        super().__init__()
        self.dense, self.norm = layers.Dense(units), layers.BatchNormalization()

    def call(self, x):
        return ops.relu(self.norm(self.dense(x))) + x


class MyModel(keras.Model):
    def __init__(self, classes=3):
        super().__init__()
        self.first = layers.Dense(16, activation="relu")
        self.block = ResidualBlock(16)
        self.dropout = layers.Dropout(0.3)
        self.classifier = layers.Dense(classes, activation="softmax")

    def call(self, inputs, training=False):
        x = self.block(self.first(inputs))
        x = self.dropout(x, training=training)
        return self.classifier(x)


rng = np.random.default_rng(0)
x = rng.normal(size=(400, 8)).astype("float32")
y = np.argmax(x[:, :3], axis=1)
model = MyModel()
model.compile(optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x, y, batch_size=32, epochs=15, verbose=0).history
assert history["accuracy"][-1] > 0.75, history["accuracy"]
assert model.predict(x, verbose=0).shape == (400, 3)
assert np.allclose(model.predict(x, verbose=0), model.predict(x, verbose=0))
