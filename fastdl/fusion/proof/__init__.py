"""That two graphs compute the same: the float64 truth, the inputs, the bar."""
