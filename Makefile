# On a fresh machine two commands do everything: make demo, make test.

PYTHON ?= /usr/bin/python3
BIN := .venv/bin
READY := .venv/.ready
DEMO := build/demo/fwfeed.toml
LAB := build/lab/.ready-$(shell id -u)
FUZZ := build/fuzz/venv
SECONDS ?= 60

.PHONY: demo test lint bench fuzz lab clean

# No root, and no network but the package index.
demo: $(READY) $(DEMO)
	$(BIN)/fwfeed --config $(DEMO) --quiet fetch >/dev/null
	$(BIN)/fwfeed --config $(DEMO) render --dry-run

# As root the lab tests run too: the real firewalld in namespaces of its own.
test: lint $(LAB)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python tests/bench/run.py

# Each target for SECONDS; TARGETS="plain aws" runs only these. atheris has wheels for few versions of Python, so it is
# not among the development tools.
fuzz: $(FUZZ)/.ready
	$(FUZZ)/bin/python tests/fuzz/run.py --seconds $(SECONDS) $(TARGETS)

lab: $(LAB)

$(READY): setup.cfg pyproject.toml tests/setup
	tests/setup venv $(PYTHON) .venv
	touch $@

$(FUZZ)/.ready: setup.cfg pyproject.toml tests/setup
	mkdir -p $(@D)
	tests/setup venv $(PYTHON) $(FUZZ) fuzz
	touch $@

$(LAB): $(READY) tests/setup
	tests/setup lab build/lab
	touch $@

$(DEMO): tests/data/demo.toml.in
	mkdir -p $(@D)
	sed 's|@ROOT@|$(CURDIR)|' $< >$@

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find fwfeed tests -name __pycache__ -prune -exec rm -rf {} +
