"""The numbers of the arrays of rows that a program reads and writes: inputs, targets, outputs, weights of samples."""

# Feeds: the first input, and the first output's targets, rows, weights of samples; those of the next are FEEDS further.
X_FEED, Y_FEED, OUT_FEED, W_FEED = 0, 1, 2, 3
FEEDS = 4
