"""Files in Keras's formats: what comes back is what went in, hostile ones are refused by one typed error within bounds;
objects as Keras's configs tell them. tests/parity/test_keras_files.py holds them against Keras itself."""

from __future__ import annotations

import builtins
import contextlib
import io
import json
import os
import resource
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers, losses, metrics, optimizers, saving, schedules
from fastdl.errors import KerasFileError, ModelFileError, UnknownObjectError
from fastdl.models import load_model, save_model
from fastdl.models.keras_files import archive
from fastdl.saving import deserialize_keras_object, serialize_keras_object

h5py = pytest.importorskip("h5py", reason="Keras's files need h5py: pip install 'fastdl[keras]'")
X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = np.stack([X[:, 0], X[:, 1] * X[:, 2]], axis=1)


def net(*stack: layers.Layer, optimizer: Any = "adam", dtype: Any = None) -> fastdl.Sequential:
    fastdl.utils.set_random_seed(1)
    model = fastdl.Sequential([fastdl.Input((4,)), *stack, layers.Dense(2, name="last")], dtype=dtype)
    model.compile(optimizer, "mse", metrics=["mae", metrics.AUC(7, name="area")])
    return model


def trained(*stack: layers.Layer, optimizer: Any = "adam", dtype: Any = None) -> fastdl.Sequential:
    model = net(*stack, optimizer=optimizer, dtype=dtype)
    model.fit(X, np.abs(Y) % 1, batch_size=4, epochs=2, verbose=0, shuffle=False)
    return model


# -- there and back ---------------------------------------------------------------------------------------

OPTIMIZERS: dict[str, Callable[[], optimizers.Optimizer]] = {
    "adam": lambda: optimizers.Adam(0.01),
    "momentum": lambda: optimizers.SGD(0.1, 0.9, nesterov=True),
    "scheduled": lambda: optimizers.Adam(schedules.CosineDecay(0.01, 100)),
    "averaged": lambda: optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9),
    "accumulated": lambda: optimizers.Adam(gradient_accumulation_steps=2),
    "adafactor": lambda: optimizers.Adafactor(),
    "nadam": lambda: optimizers.Nadam(),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_as_if_it_had_never_stopped(name: str, tmp_path: Path) -> None:
    model = trained(layers.Dense(5, "relu"), layers.BatchNormalization(), optimizer=OPTIMIZERS[name]())
    model.save(tmp_path / "m.keras")
    again = load_model(tmp_path / "m.keras")
    assert again.optimizer.get_config() == model.optimizer.get_config()
    assert np.array_equal(again.predict(X), model.predict(X))
    if name != "averaged":  # whose file has the averages, as Keras's: training goes on from there
        for each in (model, again):
            each.fit(X, np.abs(Y) % 1, batch_size=4, verbose=0, shuffle=False)
        for mine, theirs in zip(model.get_weights(), again.get_weights(), strict=True):
            assert np.array_equal(mine, theirs)


def test_float64(tmp_path: Path) -> None:
    model = trained(layers.Dense(5, "gelu"), dtype="float64")
    model.save(tmp_path / "m.keras")
    again = load_model(tmp_path / "m.keras")
    assert again.dtype == np.float64
    assert np.array_equal(again.predict(X), model.predict(X))


def test_names_of_columns_and_classes_come_along(tmp_path: Path) -> None:
    model = net()
    model.feature_names, model.class_names = ["a", "b", "c", "d"], ["no", "yes"]
    model.save(tmp_path / "m.keras")
    again = load_model(tmp_path / "m.keras")
    assert (again.feature_names, again.class_names) == (model.feature_names, model.class_names)


def test_vocabularies(tmp_path: Path) -> None:
    lookup = layers.StringLookup(output_mode="one_hot")
    lookup.adapt(np.array(["red", "green", "red"]))
    model = fastdl.Sequential([fastdl.Input((1,), dtype="string"), lookup, layers.Dense(2)])
    words = np.array([["red"], ["blue"], ["green"]])
    model.save(tmp_path / "m.keras")
    assert np.array_equal(load_model(tmp_path / "m.keras").predict(words), model.predict(words))


@pytest.mark.parametrize("mode", ["one_hot", "tf_idf"])
def test_vocabularies_among_the_assets_as_keras_writes_them(mode: str, tmp_path: Path) -> None:
    lookup = layers.StringLookup(output_mode=mode, name="words")
    lookup.adapt(np.array([["red"], ["green"], ["red"]]))
    model = fastdl.Sequential([fastdl.Input((1,), dtype="string"), lookup, layers.Dense(2)])
    model.save(tmp_path / "m.keras")
    content = members(tmp_path / "m.keras")
    config = json.loads(content["config.json"])
    told = config["config"]["layers"][1]["config"]
    vocabulary, weights = told.pop("vocabulary"), told.pop("idf_weights")
    content["config.json"] = json.dumps(config).encode()
    content["assets/layers/string_lookup/vocabulary.txt"] = "\n".join(vocabulary).encode()
    if weights:
        content["model.weights.h5"] = changed(
            content["model.weights.h5"], "layers/string_lookup/vars/idf_weights", weights
        )
    words = np.array([["red"], ["blue"], ["green"]])
    again = load_model(packed(tmp_path / "k.keras", content))
    assert np.array_equal(again.predict(words), model.predict(words))


def test_weights_alone(tmp_path: Path) -> None:
    model, other, third = trained(layers.Dense(5)), net(layers.Dense(5)), net(layers.Dense(5))
    model.save_weights(tmp_path / "m.weights.h5")
    other.load_weights(tmp_path / "m.weights.h5")
    assert np.array_equal(other.predict(X), model.predict(X))
    model.save(tmp_path / "m.keras")
    third.load_weights(tmp_path / "m.keras")
    assert np.array_equal(third.predict(X), model.predict(X))


def test_weights_that_do_not_fit_change_nothing_or_what_fits(tmp_path: Path) -> None:
    model, wider = trained(layers.Dense(5, name="first")), net(layers.Dense(5, name="first"), layers.Dense(3))
    model.save_weights(tmp_path / "m.weights.h5")
    before = wider.get_weights()
    with pytest.raises(KerasFileError, match=r"dense.*kernel has shape|last/kernel has shape|weight arrays"):
        wider.load_weights(tmp_path / "m.weights.h5")
    assert all(map(np.array_equal, before, wider.get_weights()))
    with pytest.warns(UserWarning, match="left as they are"):
        wider.load_weights(tmp_path / "m.weights.h5", skip_mismatch=True)
    assert np.array_equal(wider.get_weights()[0], model.get_weights()[0])
    other = net(layers.Dense(5))
    before = other.get_weights()
    other.load_weights(tmp_path / "m.weights.h5", objects_to_skip=[other.layers[0]])
    assert np.array_equal(other.get_weights()[0], before[0])
    assert np.array_equal(other.get_weights()[2], model.get_weights()[2])


def test_an_open_file(tmp_path: Path) -> None:
    model, file = trained(), io.BytesIO()
    model.save(file)
    file.seek(0)
    assert np.array_equal(load_model(file).predict(X), model.predict(X))
    with open(tmp_path / "m", "wb") as target:
        save_model(model, target)
    with open(tmp_path / "m", "rb") as source:
        assert np.array_equal(load_model(source).predict(X), model.predict(X))


def test_compiled_or_not(tmp_path: Path) -> None:
    trained().save(tmp_path / "m.keras")
    assert not load_model(tmp_path / "m.keras", compile=False).compiled
    trained().save(tmp_path / "n.keras", include_optimizer=False)
    assert not load_model(tmp_path / "n.keras").compiled
    assert load_model(tmp_path / "m.keras").evaluate(X, Y, return_dict=True).keys() == {"loss", "mae", "area"}


# -- one's own --------------------------------------------------------------------------------------------


@saving.register_keras_serializable("tests")
class Scaled(layers.Layer):
    """A layer of one's own that keeps a weight, a layer, and a file."""

    def __init__(self, units: int, note: str = "none", **options: Any) -> None:
        super().__init__(**options)
        self.units, self.note = units, note
        self.blocks = [[layers.Dense(units)], (layers.Dense(units),)]

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, inputs: Any) -> Any:
        first, second = self.blocks[0][0], self.blocks[1][0]
        return self.scale * second(first(inputs))

    def save_assets(self, folder: str) -> None:
        Path(folder, "note.txt").write_text(self.note)

    def load_assets(self, folder: str) -> None:
        self.note = "read " + Path(folder, "note.txt").read_text()


def half_square(y_true: Any, y_pred: Any) -> Any:
    return fastdl.ops.mean(fastdl.ops.square(y_true - y_pred), axis=-1) / 2


def test_layers_and_losses_of_ones_own(tmp_path: Path) -> None:
    model = fastdl.Sequential([fastdl.Input((4,)), Scaled(3, "hello"), layers.Dense(2)])
    model.compile("sgd", half_square)
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "m.keras")
    with h5py.File(io.BytesIO(members(tmp_path / "m.keras")["model.weights.h5"])) as file:
        for path in ("vars/0", "blocks/container/dense/vars/0", "blocks/container_1/dense/vars/1"):
            assert f"layers/scaled/{path}" in file
    with pytest.raises(ModelFileError, match="half_square"):
        load_model(tmp_path / "m.keras")
    again = load_model(tmp_path / "m.keras", {"half_square": half_square})
    assert again.evaluate(X, Y) == model.evaluate(X, Y)
    assert again.layers[0].note == "read hello"


def test_a_class_that_is_not_known_here(tmp_path: Path) -> None:
    class Unknown(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return 2.0 * inputs

    fastdl.Sequential([fastdl.Input((4,)), Unknown()]).save(tmp_path / "m.keras")
    with pytest.raises(UnknownObjectError, match=r"no class 'Unknown' .*custom_objects"):
        load_model(tmp_path / "m.keras")
    assert len(load_model(tmp_path / "m.keras", {"Unknown": Unknown}).layers) == 1


def test_lists_that_hold_themselves(tmp_path: Path) -> None:
    @saving.register_keras_serializable("tests")
    class Around(fastdl.Model):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.parts: list[Any] = [layers.Dense(3)]
            self.parts.append(self.parts)

        def call(self, inputs: Any) -> Any:
            return self.parts[0](inputs)

    model = Around()
    model(X)
    model.save(tmp_path / "m.keras")
    assert np.array_equal(load_model(tmp_path / "m.keras").predict(X), model.predict(X))


def test_a_layer_that_two_others_hold_stays_one(tmp_path: Path) -> None:
    @saving.register_keras_serializable("tests")
    class Around(layers.Layer):
        def __init__(self, inner: Any, **options: Any) -> None:
            super().__init__(**options)
            self.inner = inner

        def call(self, inputs: Any) -> Any:
            return self.inner(inputs)

        @classmethod
        def from_config(cls, config: Any) -> Any:
            return cls(**{**config, "inner": deserialize_keras_object(config["inner"])})

    inner = layers.Dense(4)
    model = fastdl.Sequential([fastdl.Input((4,)), Around(inner), Around(inner)])
    model.save(tmp_path / "m.keras")
    again = load_model(tmp_path / "m.keras")
    assert again.layers[0].inner is again.layers[1].inner
    assert np.array_equal(again.predict(X), model.predict(X))


# -- objects ----------------------------------------------------------------------------------------------

PLAIN = [
    None,
    "text",
    3,
    2.5,
    True,
    [1, "a", None],
    {"a": [1, {"b": 2}]},
    b"bytes",
    slice(1, None, 2),
    ...,
    np.arange(3),
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_values_go_there_and_back(value: Any) -> None:
    told = json.loads(json.dumps(serialize_keras_object(value)))
    again = deserialize_keras_object(told)
    assert np.array_equal(again, value) if isinstance(value, np.ndarray) else again == value


def test_the_form_of_a_config() -> None:
    told = serialize_keras_object(optimizers.Adam(0.5, name="mine"))
    assert (told["module"], told["class_name"], told["registered_name"]) == ("keras.optimizers", "Adam", None)
    assert (told["config"]["learning_rate"], told["config"]["name"]) == (0.5, "mine")
    assert serialize_keras_object(Scaled(3))["registered_name"] == "tests>Scaled"
    named = {"module": "builtins", "class_name": "function", "config": "half_square", "registered_name": "function"}
    assert serialize_keras_object(half_square) == named
    assert deserialize_keras_object(named, {"half_square": half_square}) is half_square
    assert deserialize_keras_object({**named, "config": "mean_squared_error"}) is losses.FUNCTIONS["mean_squared_error"]


ODD: dict[str, tuple[Any, type[Exception], str]] = {
    "nothing of that name": ({"class_name": "Popen", "module": "subprocess", "config": {}}, TypeError, "'Popen'"),
    "a module of Python's": ({"class_name": "function", "module": "os", "config": "system"}, TypeError, "'system'"),
    "a built-in of Python's": ({"class_name": "function", "module": "builtins", "config": "eval"}, TypeError, "'eval'"),
    "Keras's function that is none of models": (
        {"class_name": "function", "module": "keras.utils", "config": "get_file"}, TypeError, "'get_file'",
    ),
    "a list of arguments": ({"class_name": "Dense", "module": "keras.layers", "config": [1]}, TypeError, "a mapping"),
    "a name that is none": ({"class_name": 3, "config": {}}, TypeError, "must be a text"),
    "code": ({"class_name": "__lambda__", "config": {"value": ["4wEA", None, None]}}, ValueError, "arbitrary code"),
    "an array of objects": ({"class_name": "__numpy__", "config": {"value": [1], "dtype": "O"}}, TypeError, "numbers"),
    "another's registered name": (
        {"class_name": "Dense", "module": "keras.layers", "registered_name": "a>b", "config": {"units": 1}},
        ValueError, "built-in",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_configs(name: str) -> None:
    config, kind, message = ODD[name]
    with pytest.raises(kind, match=message):
        deserialize_keras_object(config, safe_mode=False)


# -- endings, and what is missing -------------------------------------------------------------------------


def test_without_h5py_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, real = net(), builtins.__import__
    model.save(tmp_path / "m.keras")

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "h5py":
            raise ImportError("no h5py")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    for call in (
        lambda: model.save(tmp_path / "n.keras"),
        lambda: load_model(tmp_path / "m.keras"),
        lambda: model.save_weights(tmp_path / "n.weights.h5"),
        lambda: model.load_weights(tmp_path / "m.keras"),
    ):
        with pytest.raises(
            ImportError, match=r"pip install 'fastdl\[keras\]'\. Files that end in \.fastdl need nothing"
        ):
            call()
    assert os.listdir(tmp_path) == ["m.keras"]
    model.save(tmp_path / "m.fastdl")


WRONG: dict[str, tuple[Callable[[Any, Path], Any], str]] = {
    "save as old HDF5": (lambda model, path: model.save(path / "m.h5"), "must end in .fastdl or .keras"),
    "save as weights": (lambda model, path: model.save(path / "m.weights.h5"), "must end in .fastdl or .keras"),
    "weights as a model": (
        lambda model, path: model.save_weights(path / "m.keras"),
        "must end in .fastdl or .weights.h5",
    ),
    "save_format": (lambda model, path: save_model(model, path / "m", save_format="h5"), "save_format is deprecated"),
    "unknown argument": (lambda model, path: model.save(path / "m.keras", signatures=1), "signatures"),
    "a folder": (lambda model, path: model.save(path / "m.keras", zipped=False), "writes files, not folders"),
    "load old HDF5": (lambda model, path: load_model(path / "m.h5"), "an old file of Keras's"),
    "load what is none": (lambda model, path: load_model(path / "m.pkl"), "no such file"),
    "load what is not there": (lambda model, path: load_model(path / "m.keras"), "no such file"),
    "load a folder": (lambda model, path: load_model(folder(path / "f.keras")), "not a plain file|cannot be read"),
    "by name": (lambda model, path: model.load_weights(path / "m.weights.h5", by_name=True), "by_name is for"),
    "skip for a model": (
        lambda model, path: model.load_weights(path / "m.keras", objects_to_skip=[]),
        "objects_to_skip is for",
    ),
    "skip for fastdl's": (
        lambda model, path: model.save_weights(path / "m.fastdl", objects_to_skip=[]),
        "is for .weights.h5",
    ),
}


def folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("name", WRONG)
def test_endings_and_arguments(name: str, tmp_path: Path) -> None:
    call, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        call(net(), tmp_path)


# -- hostile files ----------------------------------------------------------------------------------------

Members = dict[str, bytes]


def members(path: Path) -> Members:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def packed(path: Path, content: Members, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, value in content.items():
            file.writestr(name, value)
    return path


def changed(weights: bytes, path: str, value: Any, **options: Any) -> bytes:
    file = io.BytesIO(weights)
    with h5py.File(file, "r+") as group:
        if path in group:
            del group[path]
        if isinstance(value, h5py.SoftLink | h5py.ExternalLink):
            group[path] = value
        else:
            group.create_dataset(path, data=value, **options)
    return file.getvalue()


def bomb(weights: bytes) -> bytes:
    """An array that claims 8 PiB, and has nothing stored."""
    return changed(weights, KERNEL, None, shape=(2**50,), dtype="f8", chunks=(1024,), compression="gzip")


KERNEL = "layers/dense/vars/0"
WEIGHTS, CONFIG = "model.weights.h5", "config.json"


def config(change: Callable[[dict[str, Any]], Any]) -> Callable[[Members], None]:
    def apply(content: Members) -> None:
        told = json.loads(content[CONFIG])
        change(told)
        content[CONFIG] = json.dumps(told).encode()

    return apply


def weights(change: Callable[[bytes], bytes]) -> Callable[[Members], None]:
    return lambda content: content.update({WEIGHTS: change(content[WEIGHTS])})


def first(**arguments: Any) -> Callable[[Members], None]:
    return config(lambda told: told["config"]["layers"][1]["config"].update(arguments))


def deep(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


HOSTILE: dict[str, Callable[[Members], None]] = {
    "no config": lambda content: content.pop(CONFIG) and None,
    "no weights": lambda content: content.pop(WEIGHTS) and None,
    "config is no JSON": lambda content: content.update({CONFIG: b"{'a': 1}"}),
    "config is no text": lambda content: content.update({CONFIG: b"\xff\xfe\x00"}),
    "config is a list": lambda content: content.update({CONFIG: b"[]"}),
    "config is empty": lambda content: content.update({CONFIG: b"{}"}),
    "config is nested": lambda content: content.update({CONFIG: deep(100_000)}),
    "metadata is no JSON": lambda content: content.update({"metadata.json": b"?"}),
    "a path out of it": lambda content: content.update({"assets/../../escape.txt": b"x"}),
    "a path from the root": lambda content: content.update({"/etc/escape": b"x"}),
    "a path of another kind": lambda content: content.update({"assets\\..\\escape": b"x"}),
    "weights are no HDF5": weights(lambda data: b"no"),
    "weights are cut": weights(lambda data: data[: len(data) // 2]),
    "weights are torn": weights(lambda data: data[:900] + bytes(500) + data[1400:]),
    "a wrong shape": weights(lambda data: changed(data, KERNEL, np.zeros((3, 5), "f4"))),
    "a scalar": weights(lambda data: changed(data, KERNEL, np.float32(1))),
    "texts": weights(lambda data: changed(data, KERNEL, np.array([b"a", b"b"]))),
    "a bomb of an array": weights(bomb),
    "a link to another file": weights(lambda data: changed(data, KERNEL, h5py.ExternalLink("/etc/passwd", "/x"))),
    "a link within": weights(lambda data: changed(data, KERNEL, h5py.SoftLink("/layers/dense/vars/1"))),
    "another's bytes": weights(
        lambda data: changed(data, KERNEL, None, shape=(4, 5), dtype="f4", external=[("x", 0, 80)])
    ),
    "no such class": config(lambda told: told.update(class_name="Popen", module="subprocess")),
    "a model that is none": config(lambda told: told.update(class_name="Adam", module="keras.optimizers", config={})),
    "layers that are none": config(
        lambda told: told["config"].update(layers=[{"class_name": "L2", "module": "keras.regularizers", "config": {}}])
    ),
    "no layers": config(lambda told: told["config"].update(layers=None)),
    "a layer that is none": config(lambda told: told["config"]["layers"].append({})),
    "units beyond the file": first(units=2**40),
    "units that are none": first(units="many"),
    "an argument that is none": first(colour="red"),
    "an activation that is none": first(activation="eval"),
    "code for an activation": first(activation={"class_name": "__lambda__", "config": {"value": "x"}}),
    "dtypes that are not one": first(dtype="float64"),
    "dtypes that are none": first(dtype={"class_name": "DTypePolicy", "config": {"name": "int8"}}),
    "an odd dtype": first(dtype={"class_name": "DTypePolicy", "config": []}),
    "a loss that is none": config(lambda told: told["compile_config"].update(loss="os.system")),
    "an optimizer that is none": config(
        lambda told: told["compile_config"].update(optimizer={"class_name": "x", "config": {}})
    ),
    "a metric beyond bounds": config(
        lambda told: told["compile_config"].update(
            metrics=[{"module": "keras.metrics", "class_name": "AUC", "config": {"num_thresholds": 2**40}}]
        )
    ),
    "compiled with something else": config(lambda told: told["compile_config"].update(hooks=["x"])),
    "an input beyond bounds": config(
        lambda told: told["config"]["layers"][0]["config"].update(batch_shape=[None, 2**60])
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_by_one_typed_error(name: str, tmp_path: Path) -> None:
    trained(layers.Dense(5, name="first")).save(tmp_path / "m.keras")
    content = members(tmp_path / "m.keras")
    HOSTILE[name](content)
    packed(tmp_path / "hostile.keras", content)
    before, there = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, set(os.listdir(tmp_path))
    with pytest.raises(KerasFileError) as error:
        load_model(tmp_path / "hostile.keras", safe_mode=False)
    assert "hostile.keras: " in str(error.value)
    assert "\n" not in str(error.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**17  # KiB
    assert set(os.listdir(tmp_path)) == there
    assert not (tmp_path.parent / "escape.txt").exists()


def test_a_file_put_together_by_hand_is_read(tmp_path: Path) -> None:
    """Or all of the above would be refused for how it was put together."""
    model = trained(layers.Dense(5, name="first"))
    model.save(tmp_path / "m.keras")
    content = members(tmp_path / "m.keras")
    content[WEIGHTS] = changed(content[WEIGHTS], KERNEL, model.get_weights()[0])
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        again = load_model(packed(tmp_path / "again.keras", content, compression))
        assert np.array_equal(again.predict(X), model.predict(X))


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5", "assets/x.txt"])
def test_bombs_are_refused_before_they_unpack(name: str, tmp_path: Path) -> None:
    net().save(tmp_path / "m.keras")
    content = {**members(tmp_path / "m.keras"), name: bytes(archive.SMALL + 1)}
    packed(tmp_path / "bomb.keras", content, zipfile.ZIP_DEFLATED)
    assert (tmp_path / "bomb.keras").stat().st_size < 2**20
    tracemalloc.start()
    try:
        with pytest.raises(KerasFileError, match="decompression bomb"):
            load_model(tmp_path / "bomb.keras")
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_archives_that_lie_of_sizes(tmp_path: Path) -> None:
    net().save(tmp_path / "m.keras")
    content = (tmp_path / "m.keras").read_bytes()
    at = content.index(b"PK\x01\x02")  # the first entry of the directory, metadata.json
    for size in (0, 5, 2**31):
        lying = content[: at + 24] + size.to_bytes(4, "little") + content[at + 28 :]
        (tmp_path / "lying.keras").write_bytes(lying)
        with pytest.raises(KerasFileError):
            load_model(tmp_path / "lying.keras")


def test_a_name_that_stands_twice(tmp_path: Path) -> None:
    net().save(tmp_path / "m.keras")
    content = members(tmp_path / "m.keras")
    twice = CONFIG.replace("g", "_")
    packed(tmp_path / "t.keras", {**content, twice: b"{}"})
    (tmp_path / "t.keras").write_bytes((tmp_path / "t.keras").read_bytes().replace(twice.encode(), CONFIG.encode()))
    with pytest.raises(KerasFileError, match="have one name"):
        load_model(tmp_path / "t.keras")


@pytest.mark.slow
def test_every_prefix_and_many_torn_files(tmp_path: Path) -> None:
    trained(layers.Dense(5)).save(tmp_path / "m.keras")
    content, part = (tmp_path / "m.keras").read_bytes(), tmp_path / "part.keras"
    draw = np.random.default_rng(0)
    for length in range(0, len(content), 7):
        part.write_bytes(content[:length])
        with pytest.raises(KerasFileError):
            load_model(part)
    for _ in range(2000):  # a flipped bit breaks the sum of its member, or the archive's own bytes
        at = int(draw.integers(len(content)))
        part.write_bytes(content[:at] + bytes([content[at] ^ 1 << int(draw.integers(8))]) + content[at + 1 :])
        with contextlib.suppress(ModelFileError):
            load_model(part)


def test_writing_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    model = net()
    model.save(tmp_path / "m.keras")
    before = (tmp_path / "m.keras").read_bytes()
    with pytest.raises(ValueError, match="Keras has no RReLU"):
        net(layers.RReLU()).save(tmp_path / "m.keras")
    with pytest.raises(FileExistsError):
        model.save(tmp_path / "m.keras", overwrite=False)
    assert (tmp_path / "m.keras").read_bytes() == before
    assert os.listdir(tmp_path) == ["m.keras"]
