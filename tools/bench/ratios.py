"""The arithmetic of comparisons: seconds of rounds in, microseconds and ratios out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

Who = tuple[str, int]  # peer, threads
OURS = "fastdl"


def pairs(theirs: Sequence[float], ours: Sequence[float]) -> list[float]:
    """Their time over ours, round by round: above 1 we are faster. ValueError for unequal counts."""
    return [their / our for their, our in zip(theirs, ours, strict=True)]


def entry(theirs: Sequence[float], ours: Sequence[float] | None) -> dict[str, Any]:
    """Best and median of the rounds in microseconds, and the ratio to ours where there is one."""
    found: dict[str, Any] = {
        "best_us": 1e6 * min(theirs),
        "median_us": 1e6 * median(theirs),
        "rounds_us": [1e6 * seconds for seconds in theirs],
    }
    if ours is not None:
        found["ratios"] = pairs(theirs, ours)
        found["ratio"] = median(found["ratios"])
    return found


def best_peer(rounds: Mapping[Who, Sequence[float]], mixed: bool = False) -> Who | None:
    """The peer and thread count of the smallest median, of all but us; None if we are alone.

    mixed: of those that round to bfloat16 as well.
    """
    others = [who for who in rounds if not who[0].startswith(OURS) and who[0] != "runner"]
    others = [who for who in others if mixed or not who[0].endswith("-bf16")]
    return min(others, key=lambda who: median(rounds[who]), default=None)


def to_best(rounds: Mapping[Who, Sequence[float]], who: Who) -> float | None:
    """The best peer's time, at any precision, over this one's, pair by pair; None if there is no peer."""
    best = best_peer(rounds, mixed=True)
    return None if best is None or who not in rounds else median(pairs(rounds[best], rounds[who]))


def compare(rounds: Mapping[Who, Sequence[float]], threads: int) -> dict[str, Any]:
    """One line of a table: everyone at `threads` against us there, and us against the best at any count."""
    ours = rounds.get((OURS, threads))
    line: dict[str, Any] = {
        "entries": {who: entry(times, ours) for (who, at), times in rounds.items() if at == threads},
        "best_peer": None,
    }
    best = best_peer(rounds)
    if best is not None:
        line["best_peer"] = {"peer": best[0], "threads": best[1], "median_us": 1e6 * median(rounds[best])}
        if ours is not None:
            line["best_peer"]["ratio"] = median(pairs(rounds[best], ours))
    return line
