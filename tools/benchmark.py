"""fastdl beside its peers, interleaved in one run: python tools/benchmark.py train|kernels|predict|fusion|…

    python tools/benchmark.py train --threads 1 2 --json train.json --plot pictures
    python tools/benchmark.py train --workload tiny deep --peers torch jax-scan --rounds 9
    python tools/benchmark.py kernels | predict | start | many | lookup | disk | scaling | fusion | time-to-accuracy
    python tools/benchmark.py tabular --sets published --peers fastdl hist lightgbm --splits 5 --json tabular.jsonl

Each peer runs in a process of its own, pinned to as many cores as it may use threads, and stands still while
another is timed. Peers are installed by tools/benchmark-requirements.txt; what is missing is skipped with a
word. Absolute times mean little on a shared machine; the ratios, taken pair by pair, mean much.
"""

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("fastdl") is None:  # neither installed nor on the path: take the checkout's
    sys.path.append(str(Path(__file__).resolve().parents[1]))

if importlib.util.find_spec("bench") is None:  # python -P leaves this folder out
    sys.path.append(str(Path(__file__).resolve().parent))

if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        from bench.worker import main
    elif sys.argv[1:2] == ["tabular-worker"]:
        from bench.tabular.worker import main
    elif sys.argv[1:2] == ["tabular"]:
        from bench.tabular.cli import main
    else:
        from bench.cli import main
    sys.exit(main(sys.argv[1:]))
