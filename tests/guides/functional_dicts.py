"""Inputs and outputs by name: what goes in, what comes out, losses and metrics are mappings."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
title, body = rng.normal(size=(300, 5)).astype("float32"), rng.normal(size=(300, 7)).astype("float32")
priority = (title.sum(1, keepdims=True) > 0).astype("float32")
department = np.eye(4, dtype="float32")[np.argmax(body[:, :4], axis=1)]

inputs = {"title": keras.Input((5,), name="title"), "body": keras.Input((7,), name="body")}
x = layers.concatenate(
    [layers.Dense(8, activation="relu")(inputs["title"]), layers.Dense(8, activation="relu")(inputs["body"])]
)
outputs = {
    "priority": layers.Dense(1, activation="sigmoid", name="priority")(x),
    "department": layers.Dense(4, activation="softmax", name="department")(x),
}
model = keras.Model(inputs=inputs, outputs=outputs)
model.compile(
    optimizer=keras.optimizers.Adam(0.02),
    loss={"priority": "binary_crossentropy", "department": "categorical_crossentropy"},
    loss_weights={"priority": 1.0, "department": 0.2},
    metrics={"department": ["accuracy"]},
)
history = model.fit(
    {"title": title, "body": body},
    {"priority": priority, "department": department},
    epochs=10,
    batch_size=32,
    verbose=0,
).history
assert set(history) == {"loss", "priority_loss", "department_loss", "department_accuracy"}, set(history)
assert history["loss"][-1] < history["loss"][0]
answers = model.predict({"title": title, "body": body}, verbose=0)
assert set(answers) == {"priority", "department"}
assert answers["department"].shape == (300, 4)
