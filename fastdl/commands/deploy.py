"""Write the folder from which Triton, KServe, MLflow, BentoML or plain HTTP serves an ONNX file."""

from __future__ import annotations

import argparse

from fastdl.commands import _common as common

SYSTEMS = ("triton", "kserve", "mlflow", "bentoml", "http")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The file, the system, the folder and the model's name."""
    common.source_argument(parser, metavar="model.onnx")
    parser.add_argument("--to", choices=SYSTEMS, required=True, help="the system that is to serve it")
    parser.add_argument(
        "folder", type=common.a_path, metavar="FOLDER", help="made anew; Triton's may hold other models"
    )
    parser.add_argument("--name", help="of the model (default: the file's, or its folder's if it is model.onnx)")
    common.limits_argument(parser)


def run(options: argparse.Namespace) -> None:
    """Write the folder, whole or not at all, and say what to type then."""
    from fastdl.deployment import deploy

    then = deploy(options.source, options.to, options.folder, name=options.name, limited=options.limited)
    common.show(f"Written: {options.folder}", f"Next: {then}")
