"""The numbers of the arrays of rows that a program reads and writes: inputs, targets, outputs, weights of samples."""

from __future__ import annotations

from collections.abc import Collection

# Feeds: the first input, and the first output's targets, rows, weights of samples; those of the next are FEEDS further.
X_FEED, Y_FEED, OUT_FEED, W_FEED = 0, 1, 2, 3
FEEDS = 4
# Feeds that no program reads tell which inputs are missing: of the first this one, of the next FEEDS before it.
ABSENT_FEED = -FEEDS
NONE = frozenset[int]()


def absent_inputs(feeds: Collection[int]) -> frozenset[int]:
    """The numbers of the inputs that are missing."""
    if min(feeds) > ABSENT_FEED:
        return NONE
    return frozenset((ABSENT_FEED - feed) // FEEDS for feed in feeds if feed <= ABSENT_FEED)
