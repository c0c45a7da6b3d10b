"""Keras's own files, both ways: objects as its configs tell them, and .keras archives and .weights.h5 files."""
