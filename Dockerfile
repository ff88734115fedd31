# pyrobust with the versions of requirements.lock and both halves of the compiled core.
#   docker build --tag pyrobust .
#   docker run --rm --gpus all --volume "$PWD":/work --workdir /work pyrobust \
#     snakemake --cores all results/digits_linf.json
# PyTorch's wheels bring the CUDA libraries, and requirements.lock the compiler.
FROM ubuntu:24.04 AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ python3.12-dev python3.12-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3.12 -m venv /opt/pyrobust
ENV PATH=/opt/pyrobust/bin:$PATH
WORKDIR /opt/source
COPY requirements.lock ./
RUN pip install --no-cache-dir --no-deps --requirement requirements.lock
COPY . .
ENV PYROBUST_CUDA=1
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
