"""The folder that a server expects."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from fastdl.base.arguments import path as as_path
from fastdl.base.files import File, check_new_folder, write_folder
from fastdl.deployment import kserve, mlflow, services, triton
from fastdl.deployment.served import Served
from fastdl.fusion.files.model_file import read_model

# Each system with what it is given, and what is typed then.
TARGETS: dict[str, tuple[Callable[[Served], list[File]], str]] = {
    "triton": (triton.files, "tritonserver --model-repository={folder}"),
    "kserve": (
        kserve.files,
        "copy {folder}/models to the storageUri of {folder}/inferenceservice.yaml, then kubectl apply -f it",
    ),
    "mlflow": (
        mlflow.files,
        "mlflow models serve --model-uri {folder} --env-manager local, or mlserver start {folder}",
    ),
    "bentoml": (services.bentoml, "cd {folder} && bentoml serve"),
    "http": (services.http, "pip install -r {folder}/requirements.txt && uvicorn --app-dir {folder} service:app"),
}


def deploy(
    source: str | os.PathLike[str],
    to: str,
    folder: str | os.PathLike[str],
    *,
    name: str | None = None,
    limited: bool = True,
) -> str:
    """Write the folder from which a system serves an ONNX file, whole or not at all; what to type then is returned.

    to: "triton", "kserve", "mlflow", "bentoml" or "http". folder: must not be there yet, or be empty; Triton's may hold
    other models. name: of the model; the file's, or its folder's if it is called model.onnx. limited: as Runner's.
    Raises ModelFileError for a file that the system cannot serve, ValueError for a name that it does not take, OSError.
    """
    if to not in TARGETS:
        raise ValueError(f"to must be one of {', '.join(TARGETS)}, not {to!r}")
    source, folder = Path(as_path("source", source)), Path(as_path("folder", folder))
    chosen = name if name is not None else _name(source, to)
    target = folder / chosen if to == "triton" else folder
    check_new_folder(target)
    files, then = TARGETS[to]
    write_folder(target, *files(Served.of(read_model(source, limited=limited), chosen, limited)))
    return then.format(folder=folder)


def _name(source: Path, to: str) -> str:
    """The file's, of letters that all systems take."""
    stem = source.stem if source.stem != "model" else source.absolute().parent.name or source.stem
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_") or "model"
    if not name[0].isalpha():
        name = f"model-{name}"
    return name.lower().replace("_", "-")[:63].strip("-") if to == "kserve" else name
