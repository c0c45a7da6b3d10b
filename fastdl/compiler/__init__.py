"""Graph to program: which kernels run, in which order, on which memory."""
