"""Builds the one extension module: the binding once, the kernels once per instruction set and element type.

Compilers run side by side. An object lies in build/objects under a name made of all that went into it (source, headers,
flags, compiler), so nothing is compiled twice: pip builds inside this folder, and its second call finds the objects of
the first. build/ may be deleted at any time.
"""

import os
import platform
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# appended to all others, for builds with a sanitizer (see tools/sanitize.sh); to those of the kernels for these
# instruction sets only, if they are named
EXTRA = shlex.split(os.environ.get("FASTDL_CFLAGS", ""))
EXTRA_FOR = os.environ.get("FASTDL_CFLAGS_FOR", "").split()
COMMON = ["-std=gnu11", "-O3", "-g0", "-Wall", "-Wextra", "-fvisibility=hidden", "-pthread"]
# What vector code needs from -ffast-math and nothing that changes a result: fused multiply-add where the
# instruction set has it, no errno, no trap handlers.
KERNELS = [*COMMON, "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fno-asynchronous-unwind-tables"]
# The generated wrapper has no loop over elements, so -O3 would only take time and room; and parameters and casts that
# -Wextra speaks of.
BINDING = [*COMMON, "-Os", "-fno-asynchronous-unwind-tables", "-Wno-unused-parameter", "-Wno-cast-function-type"]
# One wheel for all versions of Python from 3.11 on: what releases are built with (docs/releasing.md).
ABI3 = os.environ.get("FASTDL_ABI3") == "1"
if ABI3:
    BINDING += ["-DCYTHON_LIMITED_API=1", "-DPy_LIMITED_API=0x030b0000"]
# A cross-compiler's target is named by the variable that Python's own sysconfig heeds (see tools/arm64.sh).
X86 = os.environ.get("_PYTHON_HOST_PLATFORM", platform.machine()).lower().endswith(("x86_64", "amd64"))
# On x86-64 the portable build serves CPUs from before 2013 alone, and is made small: a wheel has 2 MB for all of them.
ISAS = {"v4": ["-march=x86-64-v4"], "v3": ["-march=x86-64-v3"], "portable": ["-Os"]} if X86 else {"portable": []}
# Names are for sanitizers and debuggers: a wheel has none.
STRIPPED = ["-Wl,--strip-all"] if sys.platform == "linux" and not EXTRA else []
PYX, HEADERS = Path("ext/_ext.pyx"), sorted(Path("ext").rglob("*.h"))


@dataclass(frozen=True)
class Unit:
    """One object: a C file, or a Cython file that becomes one first, and its flags."""

    name: str
    source: Path
    flags: list[str]


def units() -> list[Unit]:
    """Those that take longest first, so that no core waits for the last."""
    kernels = []
    for isa, flags in ISAS.items():
        extra = EXTRA if isa in (EXTRA_FOR or ISAS) else []
        for dtype, is_f32 in (("f32", 1), ("f64", 0)):
            macros = [f"-DFDL_BUILD=fdl_{isa}_{dtype}", f"-DFDL_IS_F32={is_f32}"]
            kernels.append(Unit(f"{isa}_{dtype}", Path("ext/build.c"), [*KERNELS, *flags, *macros, *extra]))
    rest = [Unit(name, Path(f"ext/{name}.c"), [*COMMON, *EXTRA]) for name in ("program", "team")]
    return [*kernels, Unit("binding", PYX, [*BINDING, *EXTRA]), *rest]


def fingerprint(*parts: object) -> str:
    return sha256("\0".join(map(str, parts)).encode()).hexdigest()[:20]


class BuildKernels(build_ext):
    """Compiles all units, reusing what is there already, then links them into the extension."""

    def build_extension(self, ext: Extension) -> None:
        self.objects = Path("build/objects")
        self.objects.mkdir(parents=True, exist_ok=True)
        command = self.compiler.compiler_so
        compiler = subprocess.run([command[0], "--version"], capture_output=True, text=True, check=False).stdout
        headers = [path.read_text() for path in HEADERS]
        self.everywhere = fingerprint(sys.version, self.include_dirs, command, compiler, *headers)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        with ThreadPoolExecutor(self.parallel or cores) as pool:
            objects = list(pool.map(self.object_of, units()))
        self.compiler.force = True  # objects that are found may be older than what was last linked of others
        self.compiler.link_shared_object(
            objects, self.get_ext_fullpath(ext.name), extra_postargs=["-pthread", *STRIPPED, *EXTRA], target_lang="c"
        )

    def object_of(self, unit: Unit) -> str:
        source = self.c_of(unit.source) if unit.source.suffix == ".pyx" else unit.source
        target = self.objects / f"{unit.name}-{fingerprint(self.everywhere, source.read_text(), unit.flags)}.o"
        if not target.exists():
            with TemporaryDirectory(dir=self.objects) as folder:
                includes = ["ext", *self.include_dirs]
                (made,) = self.compiler.compile([str(source)], folder, include_dirs=includes, extra_postargs=unit.flags)
                os.replace(made, target)
        return str(target)

    def c_of(self, source: Path) -> Path:
        target = self.objects / f"binding-{fingerprint(version('cython'), source.read_text())}.c"
        if not target.exists():
            with TemporaryDirectory(dir=self.objects) as folder:
                made = Path(folder, target.name)
                subprocess.run([sys.executable, "-m", "cython", str(source), "-o", str(made)], check=True)
                os.replace(made, target)
        return target


sources = [str(path) for path in (PYX, *sorted(Path("ext").glob("*.c")))]
extension = Extension("fastdl._ext", sources, depends=[str(path) for path in HEADERS], py_limited_api=ABI3)
options = {"bdist_wheel": {"py_limited_api": "cp311"}} if ABI3 else {}
setup(ext_modules=[extension], cmdclass={"build_ext": BuildKernels}, options=options)
