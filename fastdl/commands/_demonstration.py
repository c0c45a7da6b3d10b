"""`fastdl demo`: train, fold, prove and serve one net, from data to picture."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastdl import callbacks, config, datasets, layers, optimizers, utils
from fastdl.base.arrays import Array
from fastdl.base.files import check_target, write_together
from fastdl.commands._picture import Share, curves, picture, shares
from fastdl.models import Model, Sequential
from fastdl.runner import Runner

if TYPE_CHECKING:
    from fastdl.fusion import FusionReport

HELD = 0.15  # of the training rows: for validation, by which the best epoch is chosen
PATIENCE = 4  # epochs without a better validation loss that end training
MODEL, REPORT, PICTURE = "model.onnx", "report.json", "curves.svg"


@dataclass(frozen=True)
class Task:
    """What the demo trains: data scaled to [0, 1], class names, hidden widths, batch size, epochs, learning rate."""

    name: str
    train: tuple[Array, Array]
    test: tuple[Array, Array]
    classes: Sequence[str]
    hidden: tuple[int, ...]
    batch: int
    epochs: int
    rate: float


def load() -> Task:
    """Fashion-MNIST where it is found (nothing is downloaded), else the digits that fastdl ships."""
    is_there = datasets.find_fashion_mnist() is not None
    (x, y), (xt, yt) = datasets.fashion_mnist() if is_there else datasets.digits()
    top = np.float32(255 if is_there else 16)
    scaled = (x / top, y), (xt / top, yt)
    if is_there:
        return Task("Fashion-MNIST", *scaled, datasets.FASHION_MNIST_CLASSES, (300, 100), 128, 10, 0.002)
    return Task("UCI digits", *scaled, [str(digit) for digit in range(10)], (64, 32), 32, 20, 0.005)


def build(shape: tuple[int, ...], hidden: tuple[int, ...]) -> Sequential:
    """Flatten, then Dense-BN-ReLU-Dropout for each hidden width, then softmax over ten classes."""
    model = Sequential([layers.Input(shape), layers.Flatten()])
    for units in hidden:
        model.add(layers.Dense(units, kernel_initializer="he_normal", use_bias=False))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
        model.add(layers.Dropout(0.2))
    model.add(layers.Dense(10, activation="softmax"))
    return model


def demo(folder: Path, epochs: int | None = None, seed: int = 42) -> None:
    """Run the whole journey; leave model.onnx, report.json and curves.svg in `folder`, once all of it is done.

    FileExistsError, OSError: before any work, where a file would be lost or cannot be written.
    """
    _check_folder(folder)
    task = load()
    trained = _train(task, epochs or task.epochs, seed)
    print("\n2. Export, fold batch norm into the dense layers, prove that nothing changed")
    with tempfile.TemporaryDirectory() as work:
        path = Path(work, MODEL)
        report = trained.model.export(path, verify=task.test[0], class_names=task.classes)
        exported = path.read_bytes()
    print(report)
    _serve(exported, trained.model, task)
    written = {  # the report first: by it the next demo knows the folder
        REPORT: f"{json.dumps({**trained.figures, 'fusion': report.to_dict()}, indent=2)}\n".encode(),
        MODEL: exported,
        PICTURE: draw(trained, report).encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_together(*((folder / name, [content]) for name, content in written.items()))
    print(f"\nWritten to {folder}/: {MODEL}, {REPORT}, {PICTURE} (a picture: open it in a browser). What next:")
    print("  train your own   model = fastdl.Sequential([...]); model.compile('adam', 'mse'); model.fit(x, y)")
    print("  export and prove report = model.export('m.onnx', verify=samples); print(report)")
    print("  serve            fastdl.Runner('m.onnx').predict(rows)")


@dataclass(frozen=True)
class Trained:
    """The model with the weights of the best epoch, and what the report says of its training."""

    model: Model
    figures: dict[str, Any]


def _train(task: Task, epochs: int, seed: int) -> Trained:
    (x, y), (xt, yt) = task.train, task.test
    order = np.random.default_rng(seed).permutation(len(x))  # the rows held out are the last: let them be any
    x, y = x[order], y[order]
    utils.set_random_seed(seed)
    model = build(x.shape[1:], task.hidden)
    net = "-".join(map(str, (x[0].size, *task.hidden, 10)))
    held_out = len(x) - int(len(x) * (1 - HELD))
    rows = f"{len(x) - held_out:,} rows, {held_out:,} held out for validation"
    print(f"1. Train {net} with batch norm on {task.name}: {rows}")
    model.summary()
    rate = optimizers.schedules.CosineDecay(task.rate, epochs * math.ceil((len(x) - held_out) / task.batch))
    model.compile(optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    best = callbacks.EarlyStopping("val_loss", patience=PATIENCE, restore_best_weights=True)
    began = time.perf_counter()
    history = model.fit(x, y, task.batch, epochs, validation_split=HELD, callbacks=[best]).history
    seconds = time.perf_counter() - began
    loss, accuracy = model.evaluate(xt, yt)
    threads = config.get_num_threads()
    print(f"   {seconds:.1f} s on up to {threads} threads; kept: the weights of epoch {best.best_epoch + 1}, the best")
    print(f"   test accuracy {accuracy:.4f}, loss {loss:.4f}, on {len(xt):,} rows that neither trained nor chose it")
    figures = {
        "data": task.name,
        "validation_rows": held_out,
        "best_epoch": best.best_epoch + 1,
        "test_accuracy": accuracy,
        "test_loss": loss,
        "training_seconds": seconds,
        "history": history,
    }
    return Trained(model, figures)


def _serve(exported: bytes, model: Model, task: Task) -> None:
    xt, yt = task.test
    print("\n3. Serve with onnxruntime")
    served = Runner(exported).predict(xt)
    flips = int((served.argmax(1) != model.predict(xt).argmax(1)).sum())
    accuracy = float((served.argmax(1) == yt).mean())
    print(f"   test accuracy {accuracy:.4f}, {flips} of {len(xt):,} labels differ from predict")
    first, right = task.classes[int(served[0].argmax())], task.classes[int(yt[0])]
    print(f"   first row: {first} (p = {served[0].max():.3f}), is {right}")


def draw(trained: Trained, report: FusionReport) -> str:
    """Loss and accuracy by epoch with the best one and its scores on the test rows, and what folding left: an SVG."""
    figures = trained.figures
    history, best, loss, accuracy = (figures[name] for name in ("history", "best_epoch", "test_loss", "test_accuracy"))
    return picture(
        [
            curves("Loss", history["loss"], history["val_loss"], best, test=loss),
            curves("Accuracy", history["accuracy"], history["val_accuracy"], best, most=1.0, test=accuracy),
            shares("The folded file beside the plain one", _left(report)),
        ]
    )


def _left(report: FusionReport) -> dict[str, Share]:
    """What folding left of the file and of its time: shares, and numbers in words."""
    from fastdl.fusion.report.report import within_noise

    rows = {}
    for name, what in {"operators": "nodes", "parameters": "parameters", "bytes": "bytes"}.items():
        before, after = (getattr(report, f"{what}_{side}") for side in ("before", "after"))
        rows[name] = Share(after / max(before, 1), f"{before:,} → {after:,}")
    for batch, times in report.latency.items():
        noise = ", within noise" if within_noise(times) else ""
        told = f"{times['before_us']:,.1f} → {times['after_us']:,.1f} µs{noise}"
        spread = 1 / times["most"], 1 / times["least"]
        rows[f"time, {batch.replace('_', ' ')}"] = Share(1 / times["speedup"], told, spread)
    return rows


def _check_folder(folder: Path) -> None:
    """OSError: before any work, where files that no demo wrote would be lost, or none can be written."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    check_target(there / MODEL if there == folder.absolute() else there / "a folder")
    names = [name for name in (MODEL, REPORT, PICTURE) if (folder / name).exists()]
    if names and not _by_demo(folder / REPORT):
        raise FileExistsError(f"{folder} holds {', '.join(names)}, which no demo wrote: name another --folder")


def _by_demo(report: Path) -> bool:
    try:
        return {"data", "training_seconds", "fusion"} <= set(json.loads(report.read_bytes()))
    except (OSError, ValueError, TypeError):
        return False
