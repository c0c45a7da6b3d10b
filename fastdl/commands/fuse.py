"""Fold all that can be folded in an ONNX file, prove that nothing changed, write the smaller one."""

from __future__ import annotations

import argparse
from typing import Any

from fastdl.commands import _common as common

OUTPUTS = ("labels", "logits", "probabilities")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Files in and out, what to prove on, how exactly, and what to write."""
    common.source_argument(parser)
    parser.add_argument(
        "target", type=common.a_path, nargs="?", metavar="out.onnx", help="may be left out with --dry-run"
    )
    common.samples_argument(parser, "rows to prove on, beside random ones")
    parser.add_argument("--output", choices=OUTPUTS, help="the head to keep (default: as it is)")
    common.tolerance_argument(
        parser, "largest relative error to accept (default: 4 × the file's own, or 1e-6 in float32)"
    )
    common.budget_argument(parser)
    common.limits_argument(parser)
    parser.add_argument("--no-verify", action="store_true", help="write it unproven")
    parser.add_argument("--no-measure", action="store_true", help="take no times")
    parser.add_argument("--dry-run", action="store_true", help="tell what would be done, and write nothing")
    parser.add_argument("--json", type=common.a_path, metavar="r.json", help="the report (default: out.onnx.json)")
    parser.add_argument(
        "--html", type=common.a_path, metavar="r.html", help="a page with both graphs, errors and timings"
    )


def run(options: argparse.Namespace) -> None:
    """Fuse, print the report, write out.onnx, its JSON and the page: all of them, whole, or none."""
    from fastdl import fusion

    if options.target is None and not options.dry_run:
        raise common.UsageError("out.onnx is needed, or --dry-run")
    beside = options.json or (options.target and common.beside(options.target))
    written = [options.target, beside, options.html]
    common.check_files([options.source], [options.samples], written, options.limited)
    options_of_fuse: dict[str, Any] = {"output": options.output} if options.output else {}
    plain = fusion.read_model(options.source, limited=options.limited)
    fused, report = fusion.fuse(
        plain,
        samples=common.load_arrays(options.samples),
        tolerance=options.tolerance,
        budget=options.budget,
        limited=options.limited,
        verify=not options.no_verify,
        measure=not options.no_measure,
        **options_of_fuse,
    )
    if options.target is None or options.dry_run:
        common.show(report, "Dry run: nothing is written.")
        return
    page = fusion.page(plain, fused, report, title=options.source.name) if options.html is not None else ""
    common.write({beside: report.to_json() + "\n", options.html: page}, fused, options.target)
    common.show(report, f"Written: {', '.join(str(path) for path in written if path is not None)}")
