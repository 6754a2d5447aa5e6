# On a fresh machine two commands do everything: make demo, make test.

# The D-Bus and nftables bindings are the distribution's, for its own Python: that one, or where it is missing or too old,
# another of the search path. PYTHON=... names yet another.
PYTHON ?= $(shell tests/setup python)
BIN := .venv/bin
READY := .venv/.ready
LAB := build/lab/.ready-$(shell id -u)
MACHINES ?= /var/cache/fwfeed-e2e
BROWSER := build/browser/.ready-$(shell id -u)
PACKAGING := build/packaging/.ready-$(shell id -u)
# Where packages and repository go.
PACKAGES ?= build/rpm
REPOSITORY ?= build/repo
FUZZ := build/fuzz/venv
SECONDS ?= 60
# The lab waits for firewalld, and the hostile server has others wait: twice the cores keep all of them busy; each
# takes some 400 MB at most.
WORKERS ?= $(shell cores=$$(nproc); echo $$((cores < 4 ? 2 * cores : 8)))
# TESTS="tests/unit tests/hostile" runs only these.
TESTS ?= tests --ignore tests/e2e

.PHONY: demo test test-all e2e lint bench gaps fuzz lab rpm srpm repo clean

# No root, and no network but the package index.
demo: $(READY)
	$(BIN)/python -m tests.demo build/demo
	$(BIN)/python -m fwfeed --config build/demo/fwfeed.toml --quiet fetch >/dev/null
	$(BIN)/python -m fwfeed --config build/demo/fwfeed.toml render --dry-run --no-full

# Where namespaces can be made the lab tests run too: the real firewalld in namespaces of its own. What cannot run here is
# skipped, and the end says why.
test: lint $(LAB) $(PACKAGING) $(BROWSER)
	$(BIN)/python -m pytest $(TESTS) -n $(WORKERS) --dist worksteal

# As root, on Debian: a machine with AlmaLinux 10's versions of systemd and firewalld, from `dnf install` to its removal.
e2e: $(READY) $(PACKAGING)
	tests/setup e2e "$(MACHINES)"
	FWFEED_E2E_ROOT="$(MACHINES)" $(BIN)/python -m pytest tests/e2e -q -s -p no:xdist

# Each test of the lab on every version of firewalld, those too for which one is enough.
test-all: export FWFEED_LAB_MATRIX := full
test-all: test

lint: $(READY)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

bench: $(READY)
	$(BIN)/python tests/bench/run.py
	$(BIN)/python -m tests.bench.report

# As root: what is missing from the kernel's sets while they change, by fwfeed and by other ways.
gaps: $(LAB)
	$(BIN)/python -m tests.bench.gaps $(ARGUMENTS)

# Each target for SECONDS; TARGETS="plain aws" runs only these. atheris has wheels for few versions of Python, so it is
# not among the development tools.
fuzz: $(FUZZ)/.ready
	$(FUZZ)/bin/python tests/fuzz/run.py --seconds $(SECONDS) $(TARGETS)

lab: $(LAB)

# AlmaLinux, as Fedora, builds with its own macros. What others build is for tests.
FOR_TESTS = $(if $(shell rpm --eval '%{?rhel}%{?fedora}' 2>/dev/null),,--nodeps "--macros=$$(tests/setup macros)")
rpm srpm:
	$(if $(FOR_TESTS),@echo 'built with macros that stand in for AlmaLinux 10: for tests alone' >&2)
	rpm/build $@ "$(PACKAGES)" $(FOR_TESTS) $(ARGUMENTS)

# Signed with KEY, of GnuPG's keyring; BASEURL is where hosts will find it.
repo: rpm
	rpm/repository "$(PACKAGES)" "$(REPOSITORY)" "$(BASEURL)" "$(KEY)"

$(READY): setup.cfg setup.py pyproject.toml tests/setup
	tests/setup venv "$(PYTHON)" .venv
	touch $@

$(FUZZ)/.ready: setup.cfg setup.py pyproject.toml tests/setup
	mkdir -p $(@D)
	tests/setup venv "$(PYTHON)" $(FUZZ) fuzz
	touch $@

# With 3 they have said what could not be had, and are run again the next time.
$(LAB): $(READY) tests/setup
	mkdir -p $(@D)
	tests/setup lab build/lab && touch $@ || test $$? = 3

$(PACKAGING): tests/setup
	mkdir -p $(@D)
	tests/setup rpm && touch $@ || test $$? = 3

$(BROWSER): tests/setup
	mkdir -p $(@D)
	tests/setup browser && touch $@ || test $$? = 3

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find fwfeed tests -name __pycache__ -prune -exec rm -rf {} +
