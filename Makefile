# One obvious command for each thing; every target makes the environment it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all test-page torture lint types wheel bench docs clean

demo: $(VENV)/installed
	$(BIN)/tam-edit demo -o demo

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest

test-all: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m 'not torture'

test-page: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m browser tests/web

# All of it takes about 20 minutes on two cores: TORTURE_SCALE=0.1 make torture tries a tenth.
torture: $(VENV)/installed-dev
	$(BIN)/python -m tests.torture --write docs/reliability.md

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-dev
	$(BIN)/python tests/check_types.py

wheel: $(VENV)/installed-dev
	$(BIN)/python tests/check_wheel.py

docs: $(VENV)/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/installed-dev
	$(BIN)/python -m tests.bench

clean:
	rm -rf $(VENV) .typing build dist *.egg-info demo

$(VENV)/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	# Its own dependency would put another OpenCV over ours.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps vos-benchmark==0.1.0
	touch $@
