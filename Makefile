# Everything runs in an environment of its own, .venv, made by the first target that needs it.
PYTHON ?= python3
seconds ?= 20
source ?= postgres
VENV := .venv
BIN := $(VENV)/bin
COMPILED := build/compiled
PACKAGES := connectors sinks offsets schema service
# Tests of what has no compiled form; the others run twice, the second time with one server of each kind.
UNCOMPILED := catalog connection preflight reach statements stream table
ONE_OF_EACH := not postgres15 and not mariadb1011

.PHONY: demo test test-compiled bench check wheel clean

demo: $(VENV)/demo.stamp  ## a real database, a live workload, and the proof: make demo source=mysql seconds=60
	@$(BIN)/tailrace demo --source $(source) --seconds $(seconds)

test: $(VENV)/dev.stamp  ## installs the servers that the tests need, then runs them: make test args="-k demo"
	@.ci/servers
	@.ci/test $(BIN)/python $(args)

test-compiled: $(COMPILED)/stamp  ## the tests that touch the hot path, over the compiled build
	@cd $(COMPILED) && $(CURDIR)/$(BIN)/python -m pytest -p no:cacheprovider -k '$(ONE_OF_EACH)' $(args) tests/schema tests/connectors \
		tests/contract/test_source.py tests/service/test_formats.py tests/service/test_demo.py --ignore-glob='tests/schema/test_confluent*' \
		$(UNCOMPILED:%=--ignore=tests/connectors/mysql/test_%.py)

bench: $(COMPILED)/stamp  ## rates beside the limit measured in the same run, with the compiled build
	@cd $(COMPILED) && $(CURDIR)/$(BIN)/python -m tests.bench --output $(CURDIR)/bench-output $(args)

check: $(VENV)/dev.stamp
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

wheel: $(VENV)/dev.stamp
	@$(BIN)/python -m build

clean:
	@rm -rf $(VENV) build dist demo-output bench-output .mypy_cache .ruff_cache .pytest_cache

# The wheel as it is released, unpacked beside a copy of the tests: nothing there comes from the source folders.
$(COMPILED)/stamp: $(VENV)/dev.stamp hatch_build.py $(shell find $(PACKAGES) tests -name '*.py')
	@rm -rf $(COMPILED) && mkdir -p $(COMPILED)
	@TAILRACE_COMPILE=1 $(BIN)/pip wheel --quiet --no-deps --wheel-dir $(COMPILED) .
	@$(BIN)/pip install --quiet --no-deps --target $(COMPILED) $(COMPILED)/*.whl
	@cp -r tests pyproject.toml $(COMPILED)/
	@touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tailrace needs Python 3.11 or newer: make PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: pyproject.toml | $(VENV)/bin/python
	@echo 'installing into $(VENV)'
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml | $(VENV)/bin/python
	@echo 'installing into $(VENV)'
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/demo.stamp
