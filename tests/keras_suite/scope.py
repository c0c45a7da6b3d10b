"""Which of Keras's tests are of dense nets, and why the others are not: the first row that fits says it."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Container
from fnmatch import fnmatchcase
from typing import Any

AREAS = [
    "activations", "callbacks", "constraints", "initializers", "layers", "losses", "metrics", "models", "optimizers",
    "regularizers", "saving", "trainers", "utils",
]  # fmt: skip

# reason → patterns of "folder/file.py::Class::test"
FILES: dict[str, list[str]] = {
    "images, sound, text": [
        "layers/preprocessing/image_preprocessing/*",
        "layers/preprocessing/*spectrogram*",
        "layers/preprocessing/text_vectorization*",
        "utils/*image*",
        "utils/audio*",
        "utils/text_dataset*",
        "utils/timeseries*",
        "utils/sequence_utils*",
        "layers/reshaping/up_sampling*",
        "layers/reshaping/cropping*",
        "layers/reshaping/zero_padding*",
    ],
    "convolution": ["layers/convolutional/*", "layers/pooling/*", "layers/regularization/spatial_dropout*"],
    "recurrence": ["layers/rnn/*"],
    "attention": ["layers/attention/*", "layers/core/reversible_embedding*"],
    "einsum": ["layers/core/einsum_dense*"],
    "masking": ["layers/core/masking*"],
    "IoU": ["metrics/iou*"],
    "TensorFlow, JAX, Torch, Grain": [
        "trainers/data_adapters/tf_*", "trainers/data_adapters/torch_*", "trainers/data_adapters/grain_*",
        "utils/jax_layer*", "utils/torch_utils*", "callbacks/orbax*", "optimizers/optimizer_sparse*",
        "layers/preprocessing/pipeline*",
    ],
    "Keras's insides": [
        "trainers/epoch_iterator*", "trainers/compile_utils*", "trainers/data_adapters/array_*",
        "trainers/data_adapters/data_adapter_utils*", "trainers/data_adapters/generator*",
        "models/variable_mapping*", "saving/file_editor*", "utils/tracking*", "utils/naming*", "utils/python_utils*",
        "utils/backend_utils*", "utils/code_stats*", "utils/dtype_utils*", "utils/file_utils*", "utils/io_utils*",
        "optimizers/loss_scale*", "optimizers/multi_optimizer*", "layers/preprocessing/data_layer*",
        "layers/preprocessing/index_lookup*", "callbacks/monitor_callback*",
    ],
    "the network": ["callbacks/remote_monitor*"],
}  # fmt: skip

# reason → regular expressions over the test's name
NAMES: dict[str, str] = {
    "sparse and ragged": r"sparse(?!_categorical|_top|categorical|Categorical|Top|_plus|_sigmoid|max)|ragged",
    "quantisation": r"quantiz|quantis|gptq|awq|int4|int8|float8|fp8|lora",
    "masking": r"mask(?!_token|_value)",
    "HDF5": r"h5|hdf5|legacy",
    "TensorFlow": r"tf_|tensorflow|_tf\b|jax|torch|grain",
    "dtype policies": r"dtype_polic|mixed_precision|float16|autocast|float64|_dtype$",
    "distribution": r"distribut|shard",
    "convolution": r"conv|cnn",
}

# reason → regular expressions over the test's text
TEXTS: dict[str, str] = {
    "private attributes": r"(?<!self)(?<!np)(?<!super\(\))\._[a-z]\w*",
    "sparse and ragged": r"sparse=True|RaggedTensor|SparseTensor|ragged",
    "TensorFlow": r"\btf\.|tf_data|\btorch\.|\bjax\.|\bjnp\.|grain\.",
    "HDF5": r"\.h5\b|h5py|\.hdf5",
    "quantisation": r"quantiz|lora",
    "masking": r"(?<!supports_)[Mm]ask(?!_token|_value)",
    "dtype policies": r"float16|DTypePolicy|dtype_polic|mixed_|LossScale|loss_scale",
    "convolution": r"layers\.(Conv|MaxPool|AveragePool|GlobalAverage|GlobalMax)",
    "recurrence": r"layers\.(LSTM|GRU|SimpleRNN|RNN|TimeDistributed|Bidirectional)",
    "attention": r"Attention|EinsumDense",
    "distribution": r"distribution|DeviceMesh",
    "wording of messages": r"str\((context|cm|e|error|err|ctx)\.(exception|value)\)",
    "images, sound, text": r"image_data_format|STFT|TextVectorization|CTC",
    "rematerialisation": r"[Rr]emat",
    "Keras's insides": r"DiskIOStore|NpzIOStore|ObjectSharingScope|file_utils\.|set_max_epochs",
    "private scopes": r"StatelessScope|stateless_|SymbolicScope|in_symbolic_scope",
}


def insides(text: str, public: Container[str]) -> set[str]:
    """The names that a test file takes from Keras's insides: of `keras.src`, and not among its public ones."""
    taken = set()
    for node in ast.walk(ast.parse(text)):
        module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
        if isinstance(node, ast.ImportFrom) and module.startswith("keras.src.") and "testing" not in module:
            taken |= {each.asname or each.name for each in node.names if each.name not in public}
    return taken - {"Trainer", "DenseModel", "Functional"}  # which models are made of, whoever's they are


def reason(name: str, source: str, insides: Collection[str] = ()) -> str | None:
    """Why the test is not in scope; None if it is. insides: see there, of its file."""
    for inside in insides:
        if re.search(rf"\b{inside}\b", source):
            return "Keras's insides"
    for why, patterns in FILES.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            return why
    test = name.rpartition("::")[2]
    for why, expression in NAMES.items():
        if re.search(expression, test):
            return why
    for why, expression in TEXTS.items():
        if re.search(expression, source):
            return why
    return None


def skip_reason(report: Any) -> str:
    place = report.longrepr
    return str(place[2] if isinstance(place, tuple) else place).removeprefix("Skipped: ")
