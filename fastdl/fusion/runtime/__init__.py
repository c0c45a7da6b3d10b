"""Models run by onnxruntime, within bounds of memory and time."""
