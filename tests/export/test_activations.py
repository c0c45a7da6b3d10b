"""Every activation and every layer around them: the exported file equals predict, and batch norm still folds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import fastdl
from fastdl import activations, layers
from fastdl.errors import FusionError

D, BN = layers.Dense, layers.BatchNormalization

# name: what makes the layer that stands between two batch norms
LAYERS: dict[str, Any] = {
    **{name: (lambda name=name: layers.Activation(name)) for name in activations.NAMES},
    "gelu, tanh": lambda: layers.Activation(lambda x: activations.gelu(x, approximate=True)),
    "relu, clipped": lambda: layers.ReLU(max_value=1.5),
    "relu, sloped": lambda: layers.ReLU(negative_slope=0.3),
    "relu, all": lambda: layers.ReLU(1.5, 0.3, 0.4),
    "relu, threshold": lambda: layers.ReLU(threshold=0.4),
    "LeakyReLU": layers.LeakyReLU,
    "ELU": lambda: layers.ELU(0.7),
    "PReLU": layers.PReLU,
    "PReLU shared": lambda: layers.PReLU("ones", shared_axes=1),
    "Dropout shared": lambda: layers.Dropout(0.3, (None, 1)),
    "AlphaDropout shared": lambda: layers.AlphaDropout(0.3, (None, 1)),
    "SpectralNormalization": lambda: layers.SpectralNormalization(layers.Dense(9, "tanh")),
    "RReLU": layers.RReLU,
    "Softmax": layers.Softmax,
    "Rescaling": lambda: layers.Rescaling(1 / 3, 0.1),
    "Rescaling by feature": lambda: layers.Rescaling(np.arange(1.0, 10.0) / 5, 0.1),
    "LayerNormalization": layers.LayerNormalization,
    "LayerNormalization, no affine": lambda: layers.LayerNormalization(epsilon=1e-5, center=False, scale=False),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_exported_file_equals_predict_and_holds_no_batch_norm(name: str, dtype: str, tmp_path: Path) -> None:
    fastdl.utils.set_random_seed(4)
    layer = LAYERS[name]()
    model = fastdl.Sequential([fastdl.Input((7,)), D(9), BN(), layer, BN(), D(3)], dtype=dtype)
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((256, 7)) * 3).astype(dtype)
    model.compile(fastdl.optimizers.Adam(0.01), "mse")
    model.fit(x, rng.standard_normal((256, 3)), epochs=3, verbose=0)
    path = tmp_path / "model.onnx"
    if name == "gelu" and dtype == "float64":
        with pytest.raises(FusionError, match="float64"):
            model.export(path)
        return
    model.export(path, verify=x)
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert "BatchNormalization" not in operators
    assert operators[0] == operators[-1] == "Gemm"
    predicted = model.predict(x)
    scale = max(1.0, float(np.abs(predicted).max()))
    off = np.abs(fastdl.Runner(path).predict(x) - predicted).max()
    assert off <= (1e-6 if dtype == "float32" else 1e-14) * scale


def test_a_float64_silu_is_no_product_with_a_sigmoid(tmp_path: Path) -> None:
    """onnxruntime up to 1.30 makes an operator of x sigmoid(x) that it has for float32 alone."""
    model = fastdl.Sequential([fastdl.Input((3,)), layers.Dense(2, "silu")], dtype="float64")
    model.export(tmp_path / "m.onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node]
    assert "Sigmoid" not in operators
    assert operators.count("Exp") == 1
