"""Plain tables."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first to the left, the others to the right."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    lines.insert(1, ["─" * width for width in widths])
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines
    )


def parts(told: Sequence[str], skipped: Collection[str]) -> str:
    """Parts of a report, an empty line between them; last what was skipped, if anything was."""
    return "\n\n".join([*told, *(["skipped: " + "; ".join(sorted(skipped))] if skipped else [])])


def number(value: float | None) -> str:
    """Three significant digits, thousands with a comma; "–" for None."""
    if value is None:
        return "–"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def times(ratio: float | None) -> str:
    """2.41×."""
    return "–" if ratio is None else f"{number(ratio)}×"


def percent(share: float | None) -> str:
    """87 %."""
    return "–" if share is None else f"{100 * share:.0f} %"


def cell(entry: dict[str, Any] | None) -> str:
    """Time and ratio of a peer."""
    if entry is None:
        return "–"
    return f"{number(entry['median_us'])} {times(entry.get('ratio')):>6}"
