# Two commands for a fresh machine with Python 3.11 or newer, git and make:
#   make run    a session: with a key, once you agreed, a real one, else on the CPU with the offline stand-in
#   make test   the tests (about ten minutes on two cores); make test-all runs the long forms too
# Everything goes into .venv. ARGS goes to bilevel or pytest: make run ARGS="--trials 40".

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Hundreds of processes start in the tests: each would compile every module where this is set.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run test test-all lint types imports check bench clean

run: $(VENV)/run.stamp
	$(BIN)/bilevel run --quick $(ARGS)

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n 2 $(ARGS)

test-all: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n 2 -m "long or not long" $(ARGS)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy

imports: $(VENV)/dev.stamp
	$(BIN)/lint-imports

check: lint types imports

bench: $(VENV)/run.stamp
	$(BIN)/bilevel bench $(ARGS)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache dist build

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "bilevel needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)

# torch is named first and alone, by its exact version, so that pip does not look at other builds of it.
$(VENV)/run.stamp: $(BIN)/python pyproject.toml
	@echo "Installing torch and the packages of bilevel into $(VENV); this happens once and may take minutes."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,data]'
	@touch $@
