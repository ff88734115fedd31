"""Registers and spills of every CUDA kernel, from the compiler's own report.

    python benchmarks/registers.py          # needs nvcc (CUDA_HOME), no GPU; minutes

Compiles csrc/cuda/register.cu as setup.py does, with `-Xptxas -v`, and writes
`benchmarks/results/cuda-registers.md`.
"""

import argparse
import os
import re
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

from torch.utils import cpp_extension

from pyrobust.files import write_text

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"
ARCHITECTURES = ("75", "80", "90")
ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for 'sm_(?P<arch>\d+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers",
    re.DOTALL,
)


def main() -> None:
    """Compile, read the report and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--source", type=Path, default=ROOT / "csrc/cuda/register.cu")
    parser.add_argument("--architectures", nargs="+", default=list(ARCHITECTURES))
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder that the numbers are written to"
    )
    arguments = parser.parse_args()
    rows = sorted(set(_kernels(_compile(arguments.source, arguments.architectures))))
    spilled = [row for row in rows if row[4] > 0]
    lines = [
        "# Registers of the CUDA kernels",
        "",
        f"{_nvcc_version()}; `-Xptxas -v` on {arguments.source.name}. "
        f"{len(rows)} kernels, {len(spilled)} of them spill. A block has 256 threads, so up to "
        "32 registers a thread leave all 2,048 threads of a multiprocessor resident, 64 half.",
        "",
        "| kernel | sm | registers | stack, bytes | spilled, bytes |",
        "|---|---|---|---|---|",
        *(f"| `{name}` | {arch} | {registers} | {stack} | {spill} |"
          for name, arch, registers, stack, spill in rows),
    ]  # fmt: skip
    write_text(arguments.results / "cuda-registers.md", "\n".join(lines) + "\n")
    print("\n".join(lines[:3]))


def _compile(source: Path, architectures: Sequence[str]) -> str:
    includes = [*cpp_extension.include_paths("cuda"), sysconfig.get_path("include")]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            f"{cpp_extension.CUDA_HOME}/bin/nvcc", "-c", str(source), "-o",
            f"{folder}/register.o", "-O3", "--fmad=false", "-std=c++20", "-Xptxas", "-v",
            "--expt-relaxed-constexpr", "-Xcompiler=-fPIC,-fopenmp",
            *(f"-I{path}" for path in includes),
            *(f"-gencode=arch=compute_{a},code=sm_{a}" for a in architectures),
        ]  # fmt: skip
        run = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ
        )
    if run.returncode != 0:
        raise SystemExit(f"{run.stdout}{run.stderr}")
    return run.stderr


def _kernels(report: str) -> list[tuple[str, int, int, int, int]]:
    found = [match.groupdict() for match in ENTRY.finditer(report)]
    names = _demangled([entry["name"] for entry in found])
    return [
        (
            name,
            int(entry["arch"]),
            int(entry["registers"]),
            int(entry["stack"]),
            int(entry["stores"]) + int(entry["loads"]),
        )
        for name, entry in zip(names, found, strict=True)
    ]


def _demangled(names: list[str]) -> list[str]:
    run = subprocess.run(["c++filt", *names], capture_output=True, text=True, check=True)
    return [_shortened(line) for line in run.stdout.splitlines()]


def _shortened(signature: str) -> str:
    """Return the template's name and functor, such as `map_kernel<LinfStep<float>, ...>`."""
    name = signature.removeprefix("void ").replace("pyrobust::", "").replace("c10::", "")
    depth = 0
    for place, letter in enumerate(name):
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and depth == 0:
            return name[:place]
    return name


def _nvcc_version() -> str:
    nvcc = f"{cpp_extension.CUDA_HOME}/bin/nvcc"
    text = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    return next(line for line in text.splitlines() if "release" in line)


if __name__ == "__main__":
    main()
