"""ONNX files that nobody vouches for, read and written."""
