"""What a newcomer gets wrong: each slip is one line that says what was wrong, where, and what would be right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl as keras
from fastdl import callbacks, layers, optimizers
from fastdl.errors import DataError, ModelFileError, ShapeError

X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
LABELS = np.arange(60) % 3
SPARSE = "sparse_categorical_crossentropy"


def net(units: int = 3, activation: Any = "softmax", loss: Any = SPARSE, **options: Any) -> Any:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(units, activation)])
    model.compile("adam", loss, **options)
    return model


def fit(x: Any = X, y: Any = LABELS, **options: Any) -> Any:
    return net().fit(x, y, verbose=0, **options)


def without_flatten() -> Any:
    model = k.Sequential([k.Input((2, 2)), layers.Dense(3, "softmax")])
    model.compile("sgd", SPARSE)
    return model.fit(X.reshape(-1, 2, 2), LABELS, verbose=0)


def opened(name: str, content: bytes) -> Callable[[], Any]:
    """load_model of a file of another kind."""

    def load() -> Any:
        Path(name).write_bytes(content)
        return keras.models.load_model(name)

    return load


def exported_over_the_saved() -> Any:
    model = net()
    model.save("m.fastdl")
    return model.export("m.fastdl")


def read_as(reader: Callable[[str], Any]) -> Callable[[], Any]:
    """An ONNX reader, given a model that was saved."""

    def read() -> Any:
        net().save("m.fastdl")
        return reader("m.fastdl")

    return read


# Wrong on purpose: the type checker would say so too.
k: Any = keras
ell: Any = layers

SLIPS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    # names
    "optimizer": (lambda: k.optimizers.get("adamm"), ValueError, "unknown optimizer 'adamm': did you mean 'adam'?"),
    "activation": (lambda: ell.Dense(3, "rellu"), ValueError, "unknown activation 'rellu': did you mean 'relu'?"),
    "activation, a number": (lambda: ell.Dense(3, 7), ValueError, "unknown activation 7"),
    "loss": (lambda: net(loss="mean_square_error"), ValueError, "did you mean 'mean_squared_error'?"),
    "metric": (lambda: net(metrics=["acuracy"]).fit(X, LABELS), ValueError, "did you mean 'accuracy'?"),
    "initializer": (lambda: ell.Dense(3, kernel_initializer="he_norml"), ValueError, "did you mean 'he_normal'?"),
    "constraint": (lambda: ell.Dense(3, kernel_constraint="maxnorm"), ValueError, "did you mean 'MaxNorm'?"),
    "argument of a layer": (lambda: ell.Dense(3, activaton="relu"), TypeError, "did you mean 'activation'?"),
    "argument of compile": (lambda: net(optimzer="adam"), TypeError, "did you mean 'optimizer'?"),
    "a layer": (lambda: ell.Dens(3), AttributeError, "did you mean 'Dense'?"),
    "a layer of images": (lambda: ell.Conv2D(3, 3), AttributeError, "layers for dense nets only"),
    "a module": (lambda: k.layrs, AttributeError, "did you mean 'layers'?"),
    "a data set": (lambda: k.datasets.mnist, AttributeError, "there are digits and fashion_mnist"),
    "an initializer's class": (lambda: k.initializers.he_norml, AttributeError, "did you mean 'he_normal'?"),
    "a layer's name": (lambda: net().get_layer("denze"), ValueError, "unknown layer 'denze'"),
    # models
    "Input of a number": (lambda: k.Input(4), ShapeError, "without the batch, as (4,), not 4"),
    "Input with the batch": (
        lambda: k.Sequential([k.Input((None, 4)), ell.Dense(2)]),
        ShapeError,
        "'input' of shape (None, None, 4) has a size that is not known: a shape is without the batch",
    ),
    "Input of a text": (lambda: k.Input("4"), ShapeError, "without the batch"),
    "layers without a list": (lambda: k.Sequential(k.Input((4,)), ell.Dense(3)), TypeError, "takes one list of layers"),
    "a class for a layer": (lambda: k.Sequential([ell.Dense]), ValueError, "make one, Dense(…)"),
    "units in quotes": (lambda: ell.Dense("64"), ValueError, "units must be a positive integer, not '64'"),
    "rate in quotes": (lambda: ell.Dropout("0.2"), ValueError, "rate must lie in [0, 1], not '0.2'"),
    "no Flatten": (
        without_flatten,
        ShapeError,
        "integer labels have shape (rows, 2), one for each vector of the output; a Flatten() before the last",
    ),
    "no layers": (lambda: k.Sequential().predict(X), ValueError, "has no layers"),
    "no shape": (lambda: k.Sequential([ell.Dense(3)]).summary(), ValueError, "begin it with Input(shape)"),
    # training
    "no compile": (lambda: k.Sequential([ell.Dense(3)]).fit(X, LABELS), RuntimeError, "call compile("),
    "no loss": (lambda: net(loss=None).fit(X, LABELS), ValueError, "compile needs a loss, e.g."),
    "one-hot labels": (lambda: fit(y=np.eye(3)[LABELS]), ShapeError, "use the loss categorical_crossentropy"),
    "labels for one-hot": (lambda: net(loss="categorical_crossentropy").fit(X, LABELS), ShapeError, SPARSE),
    "one output for labels": (lambda: net(1, "sigmoid").fit(X, LABELS), DataError, "the model has one output"),
    "labels from 1": (lambda: fit(y=LABELS + 1), DataError, "label 3 in row 2; the model has classes 0 to 2"),
    "labels that are no whole numbers": (lambda: fit(y=LABELS + 0.5), DataError, "label 0.5 in row 0"),
    "labels in words": (lambda: fit(y=np.array(["a", "b", "c"])[LABELS]), DataError, "encode what it holds as numbers"),
    "features in words": (lambda: fit(x=X.astype(str)), DataError, "x must hold real numbers"),
    "one column": (lambda: fit(x=X[:, 0]), ShapeError, "x has shape (60,), the model takes (rows, 4)"),
    "one sample": (lambda: net().predict(X[0]), ShapeError, "one sample is a batch of one: x[None]"),
    "x and y of other lengths": (lambda: fit(y=LABELS[:50]), DataError, "x has 60 rows, y has 50"),
    "no y": (lambda: net().fit(X), DataError, "y is missing"),
    "epochs in quotes": (lambda: fit(epochs="3"), ValueError, "epochs must be a positive integer, not '3'"),
    "validation_split in quotes": (lambda: fit(validation_split="0.2"), ValueError, "zero or more, not '0.2'"),
    "verbose": (lambda: net().fit(X, LABELS, verbose="loud"), ValueError, "must be 0, 1, 2 or 'auto', not 'loud'"),
    "a callback's class": (lambda: fit(callbacks=callbacks.EarlyStopping), TypeError, "make one, EarlyStopping(…)"),
    "a negative rate": (lambda: optimizers.Adam(-1), ValueError, "zero or more, not -1"),
    # files
    "save as .h5": (lambda: net().save("a.h5"), ValueError, "in .fastdl or .keras, as a.fastdl, not be 'a.h5'"),
    "save as .weights.h5": (lambda: net().save("a.weights.h5"), ValueError, "in .fastdl or .keras, as a.fastdl"),
    "save weights as .h5": (lambda: net().save_weights("a.h5"), ValueError, "in .fastdl or .weights.h5, as a.fastdl"),
    "save weights as .keras": (lambda: net().save_weights("a.keras"), ValueError, "in .fastdl or .weights.h5, as a.f"),
    "save as another kind": (lambda: net().save("a.pt"), ValueError, "or .keras, as a.pt.fastdl, not be 'a.pt'"),
    "save as no kind": (lambda: net().save("a"), ValueError, "in .fastdl or .keras, as a.fastdl, not be 'a'"),
    "checkpoints as .h5": (
        lambda: callbacks.ModelCheckpoint("{epoch}.h5"), ValueError, "or .weights.h5, as {epoch}.fastdl"
    ),
    "save as ONNX": (lambda: net().save("m.onnx"), ValueError, "call export"),
    "export over the saved": (exported_over_the_saved, FileExistsError, "m.fastdl is a saved model"),
    "export to a folder": (lambda: net().export("."), IsADirectoryError, "a folder, where a file is to be written"),
    "export to no folder": (lambda: net().export("no/m.onnx"), FileNotFoundError, "no such folder: 'no'"),
    "checkpoints to a folder": (
        lambda: fit(callbacks=callbacks.ModelCheckpoint(".")), IsADirectoryError, "a folder, where a file"
    ),
    "class names in one text": (lambda: net().export("m.onnx", class_names="abc"), ValueError, "a list of names"),
    "load what is a .keras": (opened("m.fastdl", b"PK\x03\x04" + bytes(99)), ModelFileError, "a zip archive, as"),
    "load .h5": (opened("m.h5", b"\x89HDF\r\n\x1a\n" + bytes(99)), ModelFileError, "an old file of Keras's: load"),
    "load a pickle": (opened("m.pkl", b"\x80\x04\x95" + bytes(99)), ModelFileError, "but a pickle"),
    "load ONNX": (opened("m.onnx", b"\x08\x08\x12\x06fastdl" + bytes(99)), ModelFileError, "see from_onnx and Runner"),
    "load text": (opened("m.txt", b"hello, world: this is no model"), ModelFileError, "not a model file of fastdl's"),
    "load a folder": (lambda: k.models.load_model("."), ModelFileError, "directory"),
    "load nothing": (lambda: k.models.load_model("none"), ModelFileError, "none: no such file"),
    "Runner of a saved model": (read_as(keras.Runner), ModelFileError, "as fastdl saves models: see load_model"),
    "from_onnx of a saved model": (read_as(keras.from_onnx), ModelFileError, "see load_model"),
    "Runner of a model": (lambda: k.Runner(net()), TypeError, "not a Sequential: export it first"),
}  # fmt: skip


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_one_line_that_says_what_is_right(slip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call, kind, told = SLIPS[slip]
    with pytest.raises(kind) as caught:
        call()
    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_saved_model_is_still_there_after_export_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileExistsError):
        exported_over_the_saved()
    assert keras.models.load_model("m.fastdl").count_params() == 15


def test_softmax_of_one_unit_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="Softmax over one number is the same for every input: use sigmoid"):
        net(1, "softmax", "binary_crossentropy")


def test_an_error_of_writing_names_the_file_that_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"'no/m\.fastdl'$"):
        net().save("no/m.fastdl")
    Path("folder").mkdir()
    with pytest.raises(IsADirectoryError, match=r"'folder'$"):
        net().save("folder")
    net().save("m" * 248 + ".fastdl")  # as long as a name may be: the temporary's is no longer
    assert len(list(tmp_path.iterdir())) == 2


def test_an_activation_may_be_a_layers_class() -> None:
    x = layers.Dense(3, layers.ReLU)(keras.Input((4,)))
    assert keras.Model(x.made_by.inputs, x).predict(X).min() >= 0


# How objects tell themselves, where a notebook shows them.
def told() -> dict[str, tuple[Any, str]]:
    model = net(metrics=["accuracy"])
    history = model.fit(X, LABELS, verbose=0)
    return {
        "model": (model, "<Sequential name=sequential, 1 layers, 15 parameters, (None, 4) → (None, 3)>"),
        "layer": (model.layers[0], "<Dense name=dense, output (None, 3), 15 parameters>"),
        "layer, not built": (layers.Dense(3, name="d"), "<Dense name=d, not built yet>"),
        "history": (history, "<History of 1 epochs, the last: loss "),
        "optimizer": (optimizers.SGD(0.1), "SGD(learning_rate=0.1)"),
        "loss": (keras.losses.Huber(2.0), "Huber(delta=2.0)"),
        "metric": (keras.metrics.AUC(), "AUC()"),
        "schedule": (keras.schedules.ExponentialDecay(0.1, 9, 0.5), "ExponentialDecay(initial_learning_rate=0.1, "),  # type: ignore[attr-defined]
        "initializer": (keras.initializers.HeNormal(), "HeNormal()"),
        "callback": (callbacks.EarlyStopping(patience=3), "EarlyStopping(patience=3)"),
        "rates": (keras.find_learning_rate(model, X, LABELS, steps=5), "<LearningRateSearch: 5 rates from 1.0e-06"),
        "statistics": (keras.layer_statistics(model, X, LABELS), "<Snapshot after epoch 0: 1 layers, "),
        "report": (model.export("m.onnx"), "<FusionReport: 2 operators, 2 after 0 folds, not verified>"),
        "inspection": (keras.fusion.inspect("m.onnx"), "<Inspection: 2 operators, 15 parameters, 0 would fold>"),
        "proof": (keras.fusion.verify("m.onnx", "m.onnx"), "<Proof on 74 rows, error "),
    }


def test_objects_tell_themselves_in_one_short_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    keras.utils.clear_session()
    for what, (value, line) in told().items():
        text = repr(value)
        assert text.startswith(line), f"{what}: {text}"
        assert " at 0x" not in text
        assert len(text) < 160
        assert "\n" not in text


def test_a_notebook_shows_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And rich, which knows a notebook, does not print them there by itself."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    model = net()
    report = model.export("m.onnx")
    for value, word in ((model, "FLOPs per sample"), (report, "parameters"), (keras.fusion.inspect("m.onnx"), "Gemm")):
        page = value._repr_html_()
        assert page.startswith("<pre")
        assert word in page
        assert "\x1b" not in page
    assert "Nothing was folded" in str(report)
    assert json.loads(report.to_json())["nodes_after"] == 2


def test_the_column_of_flops_sums_to_the_total() -> None:
    source = keras.Input((6,))
    shared = layers.Dense(6, "relu", activity_regularizer="l2")
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(5, "tanh"), layers.LayerNormalization()])
    joined = layers.Concatenate()([inner(shared(shared(source))), layers.ELU()(source)])
    model = keras.Model(source, [layers.Dense(2, "softmax")(joined), joined])
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    rows = [line.split("│") for line in lines[0].splitlines() if line.startswith("│")]
    total = next(line for line in lines[0].splitlines() if "FLOPs per sample" in line).rpartition(" ")[2]
    assert sum(int(row[-2].replace(",", "")) for row in rows) == int(total.replace(",", "")) > 0
