"""Services of Python that serve the file by a Runner: BentoML's, and plain HTTP by FastAPI."""

from __future__ import annotations

from fastdl.base.files import File
from fastdl.base.version import VERSION
from fastdl.deployment.served import Served, check_name
from fastdl.deployment.yaml import yaml

HTTP = '''"""{name}: a service by FastAPI, written by fastdl {version}.

uvicorn service:app    then POST /predict: rows as JSON objects, or nested lists; each output by name comes back
"""

from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException

import fastdl
from fastdl.deployment import answers

runner = fastdl.Runner(Path(__file__).with_name("model.onnx"))
app = FastAPI(title="{name}")


@app.post("/predict")
def predict(inputs: Annotated[Any, Body()]) -> dict[str, list[Any]]:  # in one of many threads
    try:
        return answers(runner, inputs)
    except fastdl.errors.FastdlError as error:
        raise HTTPException(422, str(error)) from None


@app.get("/health")
def health() -> dict[str, str]:
    return {{"status": "ready"}}
'''

BENTO = '''"""{name}: a service of BentoML's, written by fastdl {version}.

bentoml serve    then POST /predict, {{"inputs": rows as JSON objects, or nested lists}}; each output by name comes back
"""

from pathlib import Path
from typing import Any

import bentoml

import fastdl
from fastdl.deployment import answers


@bentoml.service(name="{name}", resources={{"cpu": "1"}})
class Service:
    def __init__(self) -> None:
        self.runner = fastdl.Runner(Path(__file__).with_name("model.onnx"))

    @bentoml.api
    def predict(self, inputs: Any) -> dict[str, list[Any]]:
        try:
            return answers(self.runner, inputs)
        except fastdl.errors.FastdlError as error:
            raise bentoml.exceptions.InvalidArgument(str(error)) from None
'''

PATTERN, TOLD = r"[A-Za-z_][A-Za-z0-9_-]*", "letters, digits, _ and -, a letter first"


def http(served: Served) -> list[File]:
    """service.py, requirements.txt and model.onnx."""
    return _files(served, HTTP, "fastapi>=0.115", "uvicorn>=0.30")


def bentoml(served: Served) -> list[File]:
    """service.py, bentofile.yaml, requirements.txt and model.onnx."""
    bento = {
        "service": "service:Service",
        "include": ["service.py", "model.onnx*"],
        "python": {"requirements_txt": "./requirements.txt"},
    }
    return [("bentofile.yaml", [yaml(bento).encode()]), *_files(served, BENTO, "bentoml>=1.4")]


def _files(served: Served, template: str, *requirements: str) -> list[File]:
    check_name(served.name, PATTERN, TOLD)
    text = template.format(name=served.name, version=VERSION)
    lines = [f"fastdl=={VERSION}", *requirements, ""]
    return [
        ("service.py", [text.encode()]),
        ("requirements.txt", ["\n".join(lines).encode()]),
        *served.files("."),
    ]
