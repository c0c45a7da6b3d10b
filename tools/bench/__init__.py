"""The benchmark behind tools/benchmark.py: parent (cli, pool, one file a command), child (worker, peers)."""
