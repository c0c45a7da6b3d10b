"""One file a command. Each holds `arguments(parser)`, which states its options, and `run(options)`."""
