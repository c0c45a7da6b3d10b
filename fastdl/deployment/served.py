"""A model that is to be served: its file, its name, what goes in and what comes out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from onnx import ModelProto

from fastdl.base.files import File
from fastdl.errors import ModelFileError
from fastdl.fusion.files.model_file import files_for
from fastdl.fusion.runtime.session import DTYPES, Port
from fastdl.runner import Runner

TEXT = "tensor(string)"


@dataclass(frozen=True)
class Served:
    """`inputs`, `outputs`: as onnxruntime tells them."""

    model: ModelProto
    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @classmethod
    def of(cls, model: ModelProto, name: str, limited: bool) -> Served:
        """ModelFileError for a model that cannot be opened, or that gives what is no tensor of numbers or strings."""
        runner = Runner(model, 1, limited=limited)
        told = {info.name: info.type.tensor_type.HasField("shape") for info in model.graph.output}
        for port in runner.outputs:
            if port.type not in DTYPES and port.type != TEXT:
                hint = "; `fastdl fuse --output probabilities` makes one of it" if "seq" in port.type else ""
                raise ModelFileError(f"output {port.name!r} is no tensor of numbers or strings but {port.type}{hint}")
            if not port.shape and not told.get(port.name):
                raise ModelFileError(f"the file does not say what shape output {port.name!r} has: no server takes it")
        return cls(model, name, runner.inputs, runner.outputs)

    @property
    def batched(self) -> bool:
        """Whether rows of any number go in, and as many come out."""
        return all(port.shape and not isinstance(port.shape[0], int) for port in (*self.inputs, *self.outputs))

    def files(self, folder: str) -> list[File]:
        """The model as model.onnx in a folder, with a file of its data if it is large."""
        return files_for(self.model, f"{folder}/model.onnx")


def dtype_name(port: Port) -> str:
    """Its element type, as numpy names it; "str" for strings."""
    return "str" if port.type == TEXT else DTYPES[port.type].name


def check_name(name: str, pattern: str, told: str) -> str:
    """ValueError unless the whole name is of the pattern, which `told` says in words."""
    if not re.fullmatch(pattern, name):
        raise ValueError(f"the model's name must be {told}, not {name!r}: give another by --name")
    return name


def sizes(shape: Sequence[int | str | None]) -> list[int]:
    """-1 where any size will do."""
    return [size if isinstance(size, int) else -1 for size in shape]
