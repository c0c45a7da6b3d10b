"""KServe: an InferenceService of the V2 protocol, and what its storage must hold: a repository of Triton's.

https://kserve.github.io/website: model serving runtimes, Triton
"""

from __future__ import annotations

from fastdl.base.files import File
from fastdl.deployment import triton
from fastdl.deployment.served import Served, check_name
from fastdl.deployment.yaml import yaml


def files(served: Served) -> list[File]:
    """inferenceservice.yaml, and models/, to be copied to where its storageUri points."""
    check_name(
        served.name, r"(?=.{1,63}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?", "lower-case letters, digits and - alone, 63 at most"
    )
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": served.name},
        "spec": {
            "predictor": {
                "model": {
                    "modelFormat": {"name": "onnx"},
                    "protocolVersion": "v2",
                    "runtime": "kserve-tritonserver",
                    "storageUri": f"pvc://models/{served.name}",
                    "resources": {
                        "requests": {"cpu": "1", "memory": "1Gi"},
                        "limits": {"cpu": "1", "memory": "2Gi"},
                    },
                }
            }
        },
    }
    told = "# storageUri: wherever the content of models/ is copied to, as pvc://, s3:// or gs://.\n"
    repository = [(f"models/{served.name}/{path}", parts) for path, parts in triton.files(served)]
    return [("inferenceservice.yaml", [(told + yaml(service)).encode()]), *repository]
