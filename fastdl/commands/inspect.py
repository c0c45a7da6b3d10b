"""What an ONNX file holds: operators, parameters, bytes, FLOPs, and what would fold and why not."""

from __future__ import annotations

import argparse

from fastdl.commands import _common as common


def arguments(parser: argparse.ArgumentParser) -> None:
    """The file, and where to write JSON."""
    common.source_argument(parser, metavar="m.onnx")
    common.limits_argument(parser)
    parser.add_argument("--json", type=common.a_path, metavar="r.json", help="write all of it there")


def run(options: argparse.Namespace) -> None:
    """Read, count, fold a copy without proof, and tell; no operator is run."""
    from fastdl import fusion

    common.check_files([options.source], [], [options.json], options.limited)
    inspection = fusion.inspect(options.source, limited=options.limited)
    common.write({options.json: inspection.to_json() + "\n"})
    common.show(inspection)
