"""The metadata entries by which fastdl's ONNX files name things: JSON lists of names."""

CLASS_NAMES_KEY = "fastdl.class_names"  # of the classes, in the order of the output's columns
FEATURE_NAMES_KEY = "fastdl.feature_names"  # of the columns that the one input is made of
COLUMNS_KEY = "fastdl.columns"  # of a file of raw columns: its layout, and each column's name and kind
