"""What a run came to: totals by area, and failures by cause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from keras_suite import causes
from keras_suite.suite import Result


def totals(results: Sequence[Result]) -> dict[str, dict[str, int]]:
    """By area, as totals.json holds them."""
    areas = sorted({result.area for result in results})
    counted = {area: Counter(result.outcome for result in results if result.area == area) for area in areas}
    return {
        area: {"in_scope": count.total(), "passed": count["unmodified"] + count["driven"]}
        for area, count in counted.items()
    }


def table(results: Sequence[Result]) -> str:
    """In scope, passed as they are, passed when driven another way, failed: by area, and of all."""
    rows = [f"{'area':14}{'in scope':>9}{'unmodified':>11}{'driven':>8}{'failed':>8}"]
    for area in [*sorted({result.area for result in results}), "all"]:
        count = Counter(result.outcome for result in results if area in (result.area, "all"))
        cells = count.total(), count["unmodified"], count["driven"], count["failed"]
        rows.append(f"{area:14}{cells[0]:9}{cells[1]:11}{cells[2]:8}{cells[3]:8}")
    return "\n".join(rows)


def failures(results: Sequence[Result], silent: bool = False) -> str:
    """Those that failed, by cause, the most frequent first. silent: only those that no error tells of."""
    lines = []
    for kind, title in causes.KINDS.items():
        some = [result for result in results if result.outcome == "failed" and result.kind == kind]
        if not some or (silent and kind not in causes.SILENT):
            continue
        lines.append(f"\n== {len(some)}  {title}")
        for cause, count in Counter(result.cause for result in some).most_common():
            lines.append(f"{count:4}  {cause}")
            lines += [f"          {result.test}" for result in some if result.cause == cause]
    return "\n".join(lines)
