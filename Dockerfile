# pyrobust with the versions of requirements.lock and both halves of the compiled core.
#   docker build --tag pyrobust .
#   docker run --rm --gpus all --volume "$PWD":/work --workdir /work pyrobust \
#     snakemake --cores all results/digits_linf.json
# The toolkit is needed for the build alone; PyTorch's wheels bring the CUDA libraries.
FROM nvidia/cuda:13.0.1-devel-ubuntu24.04 AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ python3.12-dev python3.12-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3.12 -m venv /opt/pyrobust
ENV PATH=/opt/pyrobust/bin:$PATH
WORKDIR /opt/source
COPY requirements.lock ./
RUN pip install --no-cache-dir --requirement requirements.lock
COPY . .
# Compute capabilities of the GPUs that the image is for: A100, H100, and newer ones by PTX.
ENV CUDA_HOME=/usr/local/cuda PYROBUST_CUDA=1 TORCH_CUDA_ARCH_LIST="8.0;9.0+PTX"
RUN python setup.py build_ext --inplace \
    && PYROBUST_CORE=0 pip install --no-deps --no-build-isolation --editable .

FROM ubuntu:24.04
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ python3.12 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/pyrobust /opt/pyrobust
COPY --from=build /opt/source /opt/source
ENV PATH=/opt/pyrobust/bin:$PATH
# In a clone that is mounted, Python would find the package of that clone first, and the workflow
# would build a core for it that has no CUDA half.
ENV PYTHONSAFEPATH=1 PYROBUST_CORE=0
WORKDIR /opt/source
CMD ["pyrobust", "--help"]
