"""fastdl on tables beside its rivals: real data sets, one list of splits, each fit in a process of its own."""
