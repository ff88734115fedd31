#!/usr/bin/env bash
# Make the bundle of benchmarks/gpu.sh: a core for one Python, torch and GPU, and a few wheels.
#
#     PYTHON=python3.12 TORCH=2.11.0 GPU=9.0 benchmarks/gpu_bundle.sh
#
# Installs torch and its CUDA compiler into build/gpu-bundle-env (7 GB) and writes build/gpu-bundle.
set -euo pipefail
cd "$(dirname "$0")/.."

torch=${TORCH:-2.14.1}
environment=build/gpu-bundle-env
bundle=build/gpu-bundle
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

"${PYTHON:-python3}" -m venv "$environment"
python=$PWD/$environment/bin/python
"$python" -m pip install --quiet "torch==$torch" numpy setuptools ninja
cuda=$("$python" -c "import torch; print(torch.version.cuda)")
"$python" -m pip install --quiet "nvidia-cuda-nvcc==$cuda.*" "nvidia-nvvm==$cuda.*" \
  "nvidia-cuda-crt==$cuda.*" "nvidia-cuda-cccl==$cuda.*"

mkdir -p "$bundle/wheels"
# Without numpy and what torch brings: the machine has them.
"$python" -m pip download --quiet --no-deps --dest "$bundle/wheels" \
  $(grep -iE '^(pydantic|pydantic_core|annotated-types|typing-inspection|hypothesis|sortedcontainers|pillow|safetensors)==' requirements.lock)

cp -r setup.py pyproject.toml csrc pyrobust "$copy"
rm -f "$copy"/pyrobust/_C*.so
(cd "$copy" && PATH="$(dirname "$python"):$PATH" PYROBUST_CUDA=1 \
  TORCH_CUDA_ARCH_LIST="${GPU:-9.0}" "$python" setup.py --quiet build_ext --inplace)
cp "$copy"/pyrobust/_C*.so "$bundle"
du -sh "$bundle"
