# Each target does its own set-up on a fresh machine: Python 3.11 or newer and make are all it needs.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PARALLEL := $(BIN)/python -m pytest --numprocesses logical --maxprocesses 8

# Tiny models are quickest on one thread a process, and nothing here may reach a hub.
export OMP_NUM_THREADS ?= 1
export HF_HUB_OFFLINE ?= 1
export HF_HUB_DISABLE_TELEMETRY ?= 1
# Without its bytecode every process compiles torch and transformers anew.
unexport PYTHONDONTWRITEBYTECODE

# verl's versions of transformers and of torch's extensions are not corrpo's, so its plug-in has a .venv of its own.
VERL := .venv-verl/bin
VERL_STAMP := .venv-verl/.installed

.PHONY: help venv demo test test-slow verl-test lint bench house docs gallery diagnosis real clean

help:  ## show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 11

venv: $(STAMP)  ## a .venv with everything pinned by constraints.txt

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch hatchling editables
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	touch $(STAMP)

demo: $(STAMP)  ## measure the lab, then train one of its models by GRPO and by CorR-PO: tables and reports
	$(BIN)/corrpo demo --output demo

test: $(STAMP)  ## the tests but the slow ones, in as many processes as there are cores (at most 8)
	$(PARALLEL) --dist worksteal -m 'not slow and not nightly'

test-slow: $(STAMP)  ## the slow tests: trainings, kills, several processes, browsers
	$(PARALLEL) --dist loadfile -m 'slow and not nightly'

$(VERL_STAMP): pyproject.toml plugins/verl/pyproject.toml plugins/verl/constraints.txt
	$(PYTHON) -m venv .venv-verl
	$(VERL)/python -m pip install --quiet --constraint plugins/verl/constraints.txt torch hatchling editables
	$(VERL)/python -m pip install --quiet --constraint plugins/verl/constraints.txt --no-build-isolation \
		--editable . --editable 'plugins/verl[test]'
	touch $(VERL_STAMP)

verl-test: $(VERL_STAMP)  ## the tests of the plug-in for verl, in a .venv-verl that this makes: two processes on the CPU
	cd plugins/verl && ../../$(VERL)/python -m pytest

lint: $(STAMP)  ## ruff and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(STAMP)  ## the benchmarks; every speed is a ratio of two times of one run
	PYTHONPATH=tests OMP_NUM_THREADS=$$(nproc) $(BIN)/python benchmarks/run.py

house:  ## draw docs/architecture/house.svg from the imports
	$(PYTHON) docs/hooks/house.py

docs: $(STAMP)  ## the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

gallery: $(STAMP)  ## figures 1 to 5 on the lab from its base models on, in gallery/ (under half an hour)
	PATH="$(CURDIR)/$(BIN):$$PATH" bash recipes/lab/figures.sh gallery

diagnosis: $(STAMP)  ## six training regimes of three families as one table, in diagnosis/ (about an hour of one core)
	PATH="$(CURDIR)/$(BIN):$$PATH" bash recipes/lab/diagnosis.sh diagnosis

real: $(STAMP)  ## pretrained models: figures 1 and 2, and what each estimator is worth, in real/ (many hours; goes on)
	PATH="$(CURDIR)/$(BIN):$$PATH" bash recipes/real/models.sh real/models
	PATH="$(CURDIR)/$(BIN):$$PATH" bash recipes/real/fingerprints.sh real real/models
	PATH="$(CURDIR)/$(BIN):$$PATH" bash recipes/real/fidelity.sh real/fidelity real/models

clean:  ## remove the .venv of corrpo and of verl, caches and the demo's output
	rm -rf .venv .venv-verl .pytest_cache .ruff_cache .hypothesis demo gallery diagnosis site
