"""Builds the one extension module: the binding once, the kernels once per instruction set and element type."""

import platform
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

COMMON = ["-std=gnu11", "-O3", "-g0", "-Wall", "-Wextra", "-fvisibility=hidden", "-pthread"]
# What vector code needs from -ffast-math and nothing that changes a result: fused multiply-add where the
# instruction set has it, no errno, no trap handlers.
KERNELS = [*COMMON, "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
X86 = platform.machine().lower() in ("x86_64", "amd64")
ISAS = {"portable": [], **({"v3": ["-march=x86-64-v3"], "v4": ["-march=x86-64-v4"]} if X86 else {})}


class BuildKernels(build_ext):
    """Compiles ext/build.c for every instruction set and element type, then links all into the extension."""

    def build_extension(self, ext: Extension) -> None:
        for isa, flags in ISAS.items():
            for name, is_f32 in (("f32", "1"), ("f64", "0")):
                ext.extra_objects += self.compiler.compile(
                    ["ext/build.c"],
                    output_dir=str(Path(self.build_temp) / f"{isa}-{name}"),
                    macros=[("FDL_BUILD", f"fdl_{isa}_{name}"), ("FDL_IS_F32", is_f32)],
                    include_dirs=["ext"],
                    extra_postargs=KERNELS + flags,
                    depends=ext.depends,
                )
        super().build_extension(ext)


headers = [str(path) for folder in ("ext", "ext/kernels") for path in sorted(Path(folder).glob("*.h"))]
extension = Extension(
    "fastdl._ext",
    sources=["ext/_ext.pyx", "ext/program.c", "ext/team.c"],
    include_dirs=["ext"],
    depends=[*headers, "ext/build.c"],
    # the generated wrapper, not ours, has parameters and casts that -Wextra speaks of
    extra_compile_args=[*COMMON, "-Wno-unused-parameter", "-Wno-cast-function-type"],
    extra_link_args=["-pthread"],
)
setup(ext_modules=cythonize([extension]), cmdclass={"build_ext": BuildKernels})
