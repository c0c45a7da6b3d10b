"""An ONNX graph that can be asked and changed, and the patterns that folds look for."""
