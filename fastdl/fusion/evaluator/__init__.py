"""ONNX operators in float64 by their definitions: constants are folded by them, and they are the truth of the proof."""
