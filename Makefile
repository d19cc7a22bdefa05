# Everything runs in an environment of its own, .venv, made by the first target that needs it.
PYTHON ?= python3
seconds ?= 20
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test bench check wheel clean

demo: $(VENV)/demo.stamp  ## a real Postgres, a live workload, and the proof: make demo seconds=60
	@$(BIN)/tailrace demo --seconds $(seconds)

test: $(VENV)/dev.stamp  ## installs the servers that the tests need, then runs them: make test args="-k demo"
	@.ci/servers
	@$(BIN)/python -m pytest $(args)

bench: $(VENV)/dev.stamp
	@$(BIN)/python -m tests.bench $(args)

check: $(VENV)/dev.stamp
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

wheel: $(VENV)/dev.stamp
	@$(BIN)/python -m build

clean:
	@rm -rf $(VENV) build dist demo-output bench-output .mypy_cache .ruff_cache .pytest_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tailrace needs Python 3.11 or newer: make PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/demo.stamp
