"""`python tests/keras_suite [AREA or FILE …] [-v] [--keras]`: totals by area; the failures, and why, of what is named."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path[0] = str(Path(__file__).parent.parent)

from keras_suite import causes, suite


def table(results: list[suite.Result]) -> str:
    """in scope, unmodified, driven, failed, by area."""
    rows = [f"{'area':14}{'in scope':>9}{'unmodified':>11}{'driven':>8}{'failed':>8}"]
    areas = sorted({result.area for result in results})
    for area in [*areas, "all"]:
        count = Counter(result.outcome for result in results if area in (result.area, "all"))
        cells = count.total(), count["unmodified"], count["driven"], count["failed"]
        rows.append(f"{area:14}{cells[0]:9}{cells[1]:11}{cells[2]:8}{cells[3]:8}")
    return "\n".join(rows)


def failures(results: list[suite.Result], kinds: set[str] | None = None) -> str:
    """Those that failed, by cause, the most frequent first."""
    lines = []
    failed = [result for result in results if result.outcome == "failed" and (kinds is None or result.kind in kinds)]
    for kind, title in causes.KINDS.items():
        some = [result for result in failed if result.kind == kind]
        if not some:
            continue
        lines.append(f"\n== {len(some)}  {title}")
        for cause, count in Counter(result.cause for result in some).most_common():
            lines.append(f"{count:4}  {cause}")
            lines += [f"          {result.test}" for result in some if result.cause == cause]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python tests/keras_suite", description=__doc__)
    parser.add_argument("wanted", nargs="*", help="areas or files: losses, layers/core/dense_test.py; none: all")
    parser.add_argument("-v", "--verbose", action="store_true", help="each failure with its cause")
    parser.add_argument("--silent", action="store_true", help="only failures that no error tells of")
    parser.add_argument("--keras", action="store_true", help="Keras itself in fastdl's place")
    parser.add_argument("--outside", action="store_true", help="how many are out of scope, and why")
    parser.add_argument("--fault", default="", help="with a fault put into fastdl: see faults.py")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="keras-suite-") as folder:
        results, outside = suite.run(Path(folder), chosen.wanted, "keras" if chosen.keras else "", chosen.fault)
    if chosen.silent:
        print(failures(results, {"no error", "wrong"}))
    elif chosen.verbose or chosen.wanted:
        print(failures(results))
    if chosen.outside:
        print("\n".join(f"{count:5} out of scope: {reason}" for reason, count in outside.most_common()))
    print(table(results))


if __name__ == "__main__":
    main()
