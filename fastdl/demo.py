"""`fastdl demo`: train, fold, prove and serve one net, from data to picture."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import fastdl
from fastdl import config, datasets, layers, utils
from fastdl.graph import Array


@dataclass(frozen=True)
class Task:
    """What the demo trains: data scaled to [0, 1], class names, hidden widths, batch size, epochs."""

    name: str
    train: tuple[Array, Array]
    test: tuple[Array, Array]
    classes: Sequence[str]
    hidden: tuple[int, ...]
    batch: int
    epochs: int


def load() -> Task:
    """Fashion-MNIST where it is found (nothing is downloaded), else the digits that fastdl ships."""
    found = datasets.find_fashion_mnist() is not None
    (x, y), (xt, yt) = datasets.fashion_mnist() if found else datasets.digits()
    top = np.float32(255 if found else 16)
    scaled = (x / top, y), (xt / top, yt)
    if found:
        return Task("Fashion-MNIST", *scaled, datasets.FASHION_MNIST_CLASSES, (300, 100), 128, 10)
    return Task("UCI digits", *scaled, [str(digit) for digit in range(10)], (64, 32), 32, 20)


def build(shape: tuple[int, ...], hidden: tuple[int, ...]) -> fastdl.Sequential:
    """Flatten, then Dense-BN-ReLU for each hidden width, then softmax over ten classes."""
    model = fastdl.Sequential([fastdl.Input(shape), layers.Flatten()])
    for units in hidden:
        model.add(layers.Dense(units, kernel_initializer="he_normal", use_bias=False))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
    model.add(layers.Dense(10, activation="softmax"))
    return model


def demo(folder: Path, epochs: int | None = None, seed: int = 42) -> None:
    """Run the whole journey and leave model.onnx, report.json and curves.png in `folder`."""
    task = load()
    (x, y), (xt, yt), classes = task.train, task.test, task.classes
    utils.set_random_seed(seed)
    model = build(x.shape[1:], task.hidden)
    net = "-".join(map(str, (x[0].size, *task.hidden, 10)))
    print(f"1. Train {net} with batch norm on {task.name}, {len(x):,} rows")
    model.summary()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    began = time.perf_counter()
    history = model.fit(x, y, batch_size=task.batch, epochs=epochs or task.epochs, validation_data=(xt, yt))
    seconds = time.perf_counter() - began
    loss, accuracy = model.evaluate(xt, yt)
    threads = config.get_num_threads()
    print(f"   test accuracy {accuracy:.4f}, loss {loss:.4f}; {seconds:.1f} s on up to {threads} threads")

    print("\n2. Export, fold batch norm into the dense layers, prove that nothing changed")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    report = model.export(path, verify=xt, class_names=classes)
    print(report)

    print("\n3. Serve with onnxruntime")
    runner = fastdl.Runner(path)
    served = runner.predict(xt)
    flips = int((served.argmax(1) != model.predict(xt).argmax(1)).sum())
    accuracy_served = float((served.argmax(1) == yt).mean())
    print(f"   test accuracy {accuracy_served:.4f}, {flips} of {len(xt):,} labels differ from predict")
    print(f"   first row: {classes[int(served[0].argmax())]} (p = {served[0].max():.3f}), is {classes[int(yt[0])]}")

    figures = {
        "data": task.name,
        "test_accuracy": accuracy,
        "test_loss": loss,
        "training_seconds": seconds,
        "history": history.history,
        "fusion": report.to_dict(),
    }
    (folder / "report.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    written = ["model.onnx", "report.json"]
    try:
        from fastdl.plots import training_and_fusion

        training_and_fusion(history.history, report, folder / "curves.png")
        written.append("curves.png")
    except ImportError:
        print("   (no picture: matplotlib is not installed; pip install 'fastdl[plots]')")
    print(f"\nWritten to {folder}/: {', '.join(written)}. What next:")
    print("  train your own   model = fastdl.Sequential([...]); model.compile('adam', 'mse'); model.fit(x, y)")
    print("  export and prove report = model.export('m.onnx', verify=samples); print(report)")
    print("  serve            fastdl.Runner('m.onnx').predict(rows)")
