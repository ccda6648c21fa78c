# make demo   a virtual environment, the package, and the main job: SpecTra-Net on a real sensor network
# make test   the same environment with what the tests need, and the tests
#
# Every target installs what it lacks and nothing twice; nothing is compiled, except in test-cluster without WHEELS.
#   PYTHON       the interpreter for the virtual environment (3.10 or newer)
#   TORCH_ARGS   more arguments for pip when it installs torch: which index it comes from (the first lines of
#                constraints.txt say when one wants that)
#   DEMO_ARGS    more arguments for the main job, such as --trainer.max_epochs=2
#   TEST_ARGS    more arguments for pytest
#   PROCESSES    processes that share the tests out, each with one thread
#   WHEELS       a folder with wheels of torch-cluster and torch-scatter, for test-cluster

PYTHON ?= python3
VENV ?= .venv
CLUSTER_VENV ?= .venv-cluster
TORCH_ARGS ?=
DEMO_ARGS ?=
TEST_ARGS ?=
PROCESSES ?= 2
WHEELS ?=

INPUTS := pyproject.toml constraints.txt
# Files stay whole, so that what their tests share is made once.
PYTEST := -m pytest -n $(PROCESSES) --dist loadfile
PIP_INSTALL := -m pip install --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: demo test test-cluster lint types clean help

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

demo: $(VENV)/.installed
	$(VENV)/bin/stgraph train --config configs/germany_pm10.yaml --overwrite $(DEMO_ARGS)

test: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(VENV)/bin/python $(PYTEST) $(TEST_ARGS)

test-cluster: $(CLUSTER_VENV)/.installed-cluster
	OMP_NUM_THREADS=1 $(CLUSTER_VENV)/bin/python $(PYTEST) $(TEST_ARGS)

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.installed-dev
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) $(CLUSTER_VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

%/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "stgraph needs Python 3.10 or newer, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1);" \
		"say which to use: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $*

%/.installed: $(INPUTS) | %/bin/python
	$*/bin/python $(PIP_INSTALL) $(TORCH_ARGS) torch
	$*/bin/python $(PIP_INSTALL) -e .
	touch $@

%/.installed-test: %/.installed
	$*/bin/python $(PIP_INSTALL) -e ".[test]"
	touch $@

%/.installed-dev: %/.installed-test
	$*/bin/python $(PIP_INSTALL) -e ".[dev]"
	touch $@

# Source releases of the two packages need the installed torch and a compiler to be built.
%/.installed-cluster: %/.installed-test
ifneq ($(WHEELS),)
	$*/bin/python $(PIP_INSTALL) --no-index --find-links "$(WHEELS)" torch-cluster torch-scatter
else
	$*/bin/python $(PIP_INSTALL) setuptools wheel
	$*/bin/python $(PIP_INSTALL) --no-build-isolation torch-cluster torch-scatter
endif
	touch $@

.SECONDARY:
