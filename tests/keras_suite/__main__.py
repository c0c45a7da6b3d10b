"""Keras's own tests against fastdl: totals by area; of areas and files that are named, each failure with its cause."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path[0] = str(Path(__file__).parent.parent)

from keras_suite import report, suite  # noqa: E402

TOTALS = Path(__file__).parent / "totals.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python tests/keras_suite", description=__doc__)
    parser.add_argument("wanted", nargs="*", help="areas or files: losses, layers/core/dense_test.py; none: all")
    parser.add_argument("-v", "--verbose", action="store_true", help="of all: each failure with its cause")
    parser.add_argument("--silent", action="store_true", help="only the failures that no error tells of")
    parser.add_argument("--write", metavar="FOLDER", help="failures.txt and silent.txt into the folder")
    parser.add_argument("--keep", action="store_true", help="write totals.json anew")
    parser.add_argument("--keras", action="store_true", help="Keras itself in fastdl's place")
    parser.add_argument("--outside", action="store_true", help="how many are out of scope, and why")
    parser.add_argument("--fault", default="", help="with wrong numbers in fastdl: see faults.py")
    chosen = parser.parse_args()
    if suite.wheel() is None:
        sys.exit("Keras is not installed: pip install '.[parity]'")
    with tempfile.TemporaryDirectory(prefix="keras-suite-") as folder:
        results, outside = suite.run(Path(folder), chosen.wanted, "keras" if chosen.keras else "", chosen.fault)
    if chosen.verbose or chosen.wanted or chosen.silent:
        print(report.failures(results, chosen.silent))
    if chosen.write:
        folder_of = Path(chosen.write)
        (folder_of / "failures.txt").write_text(f"{report.failures(results)}\n\n{report.table(results)}\n")
        (folder_of / "silent.txt").write_text(f"{report.failures(results, silent=True)}\n")
    if chosen.outside:
        print("\n".join(f"{count:5} out of scope: {reason}" for reason, count in outside.most_common()))
    print(report.table(results))
    if chosen.keep and not chosen.wanted and not chosen.keras:
        kept = {"keras": suite.version(), "areas": report.totals(results)}
        TOTALS.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
