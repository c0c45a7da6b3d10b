"""MLflow: a model of its onnx flavor, which MLServer serves too.

Its signature names tensors, so that arrays and columns of frames go in with the model's shapes, and outputs come out as
they are: for a signature of columns the flavor would flatten them, and pandas 3 give it strings that it cannot read.
https://mlflow.org/docs/latest/ml/model, https://mlserver.readthedocs.io
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from fastdl.base.files import File
from fastdl.deployment.served import Served, check_name, dtype_name, sizes
from fastdl.deployment.yaml import yaml
from fastdl.fusion.runtime.session import Port


def files(served: Served) -> list[File]:
    """MLmodel, model.onnx, what it needs, and MLServer's settings."""
    check_name(served.name, r"[A-Za-z0-9_][A-Za-z0-9_.-]*", "letters, digits and _ . - alone")
    needs = [f"{name}=={version(name)}" for name in ("numpy", "onnx", "onnxruntime")]
    python = platform.python_version()
    conda: dict[str, Any] = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": ["mlflow", *needs]}],
    }
    environment = {"python": f"{python}", "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    settings = {
        "name": served.name,
        "implementation": "mlserver_mlflow.MLflowRuntime",
        "parameters": {"uri": "."},
    }
    texts = {
        "MLmodel": yaml(_mlmodel(served)),
        "requirements.txt": "\n".join(["mlflow", *needs, ""]),
        "python_env.yaml": yaml(environment),
        "conda.yaml": yaml(conda),
        "model-settings.json": json.dumps(settings, indent=2) + "\n",
        "settings.json": json.dumps({"parallel_workers": 0}) + "\n",  # a small net has answered before it is sent
    }
    return [*((name, [text.encode()]) for name, text in texts.items()), *served.files(".")]


def _mlmodel(served: Served) -> dict[str, Any]:
    return {
        "flavors": {
            "onnx": {
                "onnx_version": version("onnx"),
                "data": "model.onnx",
                "providers": ["CPUExecutionProvider"],
                "onnx_session_options": {"intra_op_num_threads": 1, "inter_op_num_threads": 1},
                "code": None,
            },
            "python_function": {
                "loader_module": "mlflow.onnx",
                "data": "model.onnx",
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "python_version": platform.python_version(),
            },
        },
        "signature": {
            "inputs": _signature(served.inputs, len(served.inputs) > 1),
            "outputs": _signature(served.outputs, True),
            "params": None,
        },
    }


def _signature(ports: Sequence[Port], named: bool) -> str:
    """Tensors of the model's types and shapes; without its name, one that takes any array or frame."""
    return json.dumps(
        [
            ({"name": port.name} if named else {})
            | {"type": "tensor", "tensor-spec": {"dtype": dtype_name(port), "shape": sizes(port.shape)}}
            for port in ports
        ]
    )
