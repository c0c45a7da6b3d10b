"""NVIDIA Triton: a repository with the model, its backend onnxruntime, on the CPU.

https://github.com/triton-inference-server/server: docs/user_guide/model_repository.md, model_configuration.md
"""

from __future__ import annotations

import json

from fastdl.base.files import File
from fastdl.deployment.served import Served, check_name, dtype_name, sizes
from fastdl.fusion.runtime.session import Port

MOST_ROWS = 1024  # of a batch that Triton makes of requests
TYPES = {"str": "STRING", "float16": "FP16", "float32": "FP32", "float64": "FP64"}  # else the name in capitals


def files(served: Served) -> list[File]:
    """config.pbtxt and 1/model.onnx, of the folder of the model's name."""
    check_name(served.name, r"[A-Za-z0-9_][A-Za-z0-9_.-]*", "letters, digits and _ . - alone")
    return [("config.pbtxt", [config(served).encode()]), *served.files("1")]


def config(served: Served) -> str:
    """config.pbtxt: requests are batched where rows of any number go in and as many come out; one thread a request."""
    batch = MOST_ROWS if served.batched else 0
    return "\n".join(
        [
            f"name: {_text(served.name)}",
            'backend: "onnxruntime"',
            'default_model_filename: "model.onnx"',
            f"max_batch_size: {batch}",
            *(line for port in served.inputs for line in _port("input", port, batch > 0)),
            *(line for port in served.outputs for line in _port("output", port, batch > 0)),
            *(["dynamic_batching { }"] if batch else []),
            "instance_group [ { kind: KIND_CPU count: 1 } ]",
            *(
                f'parameters {{ key: "{key}" value: {{ string_value: "1" }} }}'
                for key in ("intra_op_thread_count", "inter_op_thread_count")
            ),
            "",
        ]
    )


def _port(what: str, port: Port, batched: bool) -> list[str]:
    """Its sizes without the batch's. Triton wants one at least: a column has a 1 that the model does not see."""
    dims = sizes(port.shape)[1 if batched else 0 :]
    kind = dtype_name(port)
    return [
        f"{what} [",
        "  {",
        f"    name: {_text(port.name)}",
        f"    data_type: TYPE_{TYPES.get(kind, kind.upper())}",
        f"    dims: {dims or [1]}",
        *([] if dims else ["    reshape: { shape: [ ] }"]),
        "  }",
        "]",
    ]


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
