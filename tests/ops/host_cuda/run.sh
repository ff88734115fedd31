#!/bin/sh
# Runs the CUDA kernels on the host and compares all results with those of the CPU's loops, bit by
# bit: a check of the kernels' logic where there is no GPU. PYTHON names the interpreter (python).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
python=${PYTHON:-python}
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

cp -r "$root/setup.py" "$root/pyproject.toml" "$root/csrc" "$root/pyrobust" "$root/tests" "$copy"
rm -f "$copy"/pyrobust/_C*.so
cp "$here/stream.cuh" "$copy/csrc/cuda"
cp "$here/register.cpp" "$copy/csrc/cpu"
(cd "$copy" && PYROBUST_CUDA=0 "$python" setup.py --quiet build_ext --inplace)

fingerprint() {
  cd "$1"
  "$python" -c "
import runpy
core = runpy.run_path('tests/ops/test_core.py')
for shape in [(5, 3, 20, 20), (9, 3, 7, 3), (3, 2, 4, 5), (2, 1, 1, 1)]:
    print(*core['fingerprints'](shape), sep='\n')
"
}
fingerprint "$root" > "$copy/cpu.txt"
fingerprint "$copy" > "$copy/cuda.txt"
diff "$copy/cpu.txt" "$copy/cuda.txt"
echo "the CUDA kernels give the bits of the CPU's loops"
