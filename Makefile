# make demo   from nothing to a report about a robust classifier (digits, minutes on two cores)
# make test   from nothing to all checks: format, types, unit tests, workflows, sanitizers
# make quick  the part of `make test` that takes minutes, for every commit

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Snakemake, rules and tests find the environment without activating it.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test quick install core lint lock clean

demo: install
	snakemake --cores all results/digits_linf.json
	@echo
	@echo "Report: $(CURDIR)/results/digits_linf.html"

test: quick
	pytest -m slow

quick: install lint
	OMP_NUM_THREADS=1 pytest -m "not slow" -n 2

lint: install
	ruff check
	ruff format --check
	mypy
	snakefmt --check Snakefile workflow
	clang-format --dry-run --Werror $$(git ls-files 'csrc/*.h' 'csrc/*.cpp' 'csrc/*.cu' 'csrc/*.cuh')

install: $(VENV)/.installed core

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	pip install --requirement requirements.lock
	PYROBUST_CORE=0 pip install --no-deps --no-build-isolation --editable .
	touch $@

# The build looks at its sources itself and does nothing where nothing changed.
core: $(VENV)/.installed
	python setup.py --quiet build_ext --inplace

# Resolves pyproject.toml anew; run it after a change of the dependencies.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	PYROBUST_CORE=0 build/lock/bin/pip install setuptools wheel torch==2.14.1 pybind11
	PYROBUST_CORE=0 build/lock/bin/pip install --no-build-isolation '.[workflow,develop]'
	(sed -n '/^#/p' requirements.lock; build/lock/bin/pip freeze --all --exclude pip --exclude pyrobust) > build/requirements.lock
	mv build/requirements.lock requirements.lock

clean:
	rm -rf build results resources/datasets resources/core.built logs .snakemake pyrobust/_C*.so
