"""What the run ran on: CPU, versions, load, and its limits measured beside everything else."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("peak.c")
FLAGS = {  # how peak.c is compiled for each of fastdl's instruction sets, and for products of bfloat16
    "bfloat16": ["-mavx512f", "-mavx512bf16", "-DLANES=16", "-DCHAINS=24", "-DBFLOAT16"],
    "v4": ["-mavx512f", "-mprefer-vector-width=512", "-DLANES=16", "-DCHAINS=24"],
    "v3": ["-mavx2", "-mfma", "-DLANES=8", "-DCHAINS=12"],
    "neon": ["-DLANES=4", "-DCHAINS=24"],
    "portable": ["-DLANES=4", "-DCHAINS=12"],
}


def cpu_model() -> str:
    """The CPU's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pin(count: int) -> None:
    """Keep this process on the first `count` of its cores, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores()[:count])


def last_cache() -> int:
    """Bytes of the largest cache of the first core; 32 MB where the system does not tell."""
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text().strip()
        sizes.append(int(text[:-1]) * {"K": 1 << 10, "M": 1 << 20}[text[-1]])
    return max(sizes, default=32 << 20)


def load() -> float:
    """Processes that wanted a core during the last minute, on average."""
    return round(os.getloadavg()[0], 2)


def busy_seconds() -> float:
    """CPU time of all processes since boot, and what a hypervisor took; 0 where the system does not tell."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return 0.0
    user, nice, system, _idle, _wait, *rest = map(int, fields)
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def cpu_seconds(process: int) -> float:
    """CPU time of a process and of the children that it waited for; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def disk_bytes() -> int:
    """What this process has read from disks so far; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("read_bytes")), 0)


def about() -> dict[str, Any]:
    """CPU, cores, system and Python."""
    return {
        "cpu": cpu_model(),
        "cores": len(cores()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


class Limits:
    """FMA peak and memory bandwidth by (instruction set, threads): the best of all measurements in this run."""

    def __init__(self, isas: Iterable[str], threads: Iterable[int]) -> None:
        self.best: dict[tuple[str, int], dict[str, float]] = {}
        self.word = ""  # why there are none
        self._folder = tempfile.TemporaryDirectory(prefix="fastdl-bench-")
        self._programs: list[tuple[str, int, Path]] = []
        named = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
        compiler = next((found for name in named if name and (found := shutil.which(name))), None)
        if compiler is None:
            self.word = "no C compiler"
            return
        for isa in dict.fromkeys(isas):
            program = Path(self._folder.name, isa)
            command = [compiler, "-O3", "-ffp-contract=fast", *FLAGS.get(isa, FLAGS["portable"]), str(SOURCE)]
            done = subprocess.run([*command, "-o", str(program), "-pthread"], capture_output=True, text=True)
            if done.returncode:
                self.word = f"{Path(compiler).name} cannot compile {SOURCE.name}"
            else:
                self._programs += [(isa, count, program) for count in threads]

    def measure(self) -> None:
        """Measure once more; a limit is the best ever seen."""
        for isa, threads, program in self._programs:
            line = subprocess.run(
                [program, str(threads)], capture_output=True, text=True, preexec_fn=lambda n=threads: pin(n)
            )
            if line.returncode:
                self.word = f"{SOURCE.name} does not run here"
                continue
            best = self.best.setdefault((isa, threads), {})
            for name, value in json.loads(line.stdout).items():
                best[name] = max(value, best.get(name, 0.0))

    def gflops(self, isa: str, threads: int) -> float | None:
        """Measured FMA peak, or None."""
        return self.best.get((isa, threads), {}).get("gflops")

    def gbytes(self, threads: int) -> float | None:
        """Measured triad bandwidth in GB/s, or None."""
        found = [value["gbytes"] for (_, count), value in self.best.items() if count == threads]
        return max(found, default=None)

    def as_json(self) -> list[dict[str, Any]]:
        """For the report."""
        return [{"isa": isa, "threads": threads, **best} for (isa, threads), best in self.best.items()]
