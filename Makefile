# make demo   from nothing to a report about a robust classifier (digits, minutes on two cores)
# make test   from nothing to all checks: format, types, unit tests, workflows, sanitizers
# make docs   build the documentation site
# make quick  the part of `make test` that takes minutes, for every commit
# make fuzz   the property tests, with examples that no run has drawn before

# CUDA=0   installs 1.2 GB less and builds the core for the CPU alone
# CUDA=1   insists on the CUDA half of the core, which is otherwise built where a compiler is found
# The choice is remembered until another one is made; `make install CUDA=` returns to neither.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REMEMBERED := $(strip $(shell cat $(VENV)/.installed 2> /dev/null))
ifneq ($(origin CUDA),command line)
CUDA := $(REMEMBERED)
endif
# What only a GPU and the compiler for it need; torch itself needs the other CUDA libraries even on
# a machine without GPU.
GPU_ONLY := triton nvidia-cuda-nvcc nvidia-nvvm nvidia-cuda-crt nvidia-cuda-cccl
LEFT_OUT := $(if $(filter 0,$(CUDA)),^($(subst $() ,|,$(GPU_ONLY)))==,^$$)
# Snakemake, rules and tests find the environment without activating it.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test quick fuzz install core lint unit workflow on-slurm without-slurm sanitizers docs lock clean choice

demo: install
	pyrobust demo --folder .

test: lint unit workflow sanitizers

quick: lint unit

unit: install
	OMP_NUM_THREADS=1 pytest -m "not slow" -n 2

fuzz: install
	pytest --hypothesis-profile=new $$(git grep -l "^@given" tests)

# Whole workflows and long trainings. The tests on Slurm wait more than they compute, so they run
# beside the others.
workflow: install
	$(MAKE) --jobs=2 on-slurm without-slurm

on-slurm:
	pytest -m slow tests/slurm

without-slurm:
	pytest -m slow --ignore=tests/ops --ignore=tests/slurm

# The operators under sanitizers and compiled, and the CUDA kernels on the host.
sanitizers: install
	pytest -m slow tests/ops

lint: install
	ruff check
	ruff format --check
	mypy
	snakefmt --check Snakefile workflow
	clang-format --dry-run --Werror $$(git ls-files 'csrc/*.h' 'csrc/*.cpp' 'csrc/*.cu' 'csrc/*.cuh')

install: $(VENV)/.installed core

$(VENV)/.installed: requirements.lock pyproject.toml $(if $(filter-out _$(REMEMBERED),_$(CUDA)),choice)
	$(PYTHON) -m venv $(VENV)
	grep -vE "$(LEFT_OUT)" requirements.lock > $(VENV)/requirements
	pip install --no-deps --requirement $(VENV)/requirements
	$(if $(filter 0,$(CUDA)),pip uninstall --quiet --yes $(GPU_ONLY))
	PYROBUST_CORE=0 pip install --no-deps --no-build-isolation --editable .
	echo "$(CUDA)" > $@

# The documentation site, in build/site; strict about broken links.
docs:
	$(PYTHON) -m venv build/docs
	build/docs/bin/pip install --quiet --requirement docs/requirements.txt
	NO_MKDOCS_2_WARNING=1 build/docs/bin/mkdocs build --quiet
	@echo "Documentation: $(CURDIR)/build/site/index.html"

# The build looks at its sources itself and does nothing where nothing changed.
core: $(VENV)/.installed
	$(if $(CUDA),PYROBUST_CUDA=$(CUDA)) python setup.py --quiet build_ext --inplace

# Resolve pyproject.toml again; run it after a change of the dependencies.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	PYROBUST_CORE=0 build/lock/bin/pip install setuptools setuptools-scm wheel torch==2.14.1 pybind11
	PYROBUST_CORE=0 build/lock/bin/pip install --no-build-isolation '.[workflow,develop]'
	(sed -n '/^#/p' requirements.lock; build/lock/bin/pip freeze --all --exclude pip --exclude pyrobust) > build/requirements.lock
	mv build/requirements.lock requirements.lock

clean:
	rm -rf build results resources/datasets resources/core.built logs .snakemake pyrobust/_C*.so
