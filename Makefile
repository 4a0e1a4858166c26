# Every word a developer needs; `make` alone explains them. Nothing but make and Python 3.11+ (with pip and venv) is expected.
.DEFAULT_GOAL := help
.PHONY: help demo test test-all conformance simulate torture lint rules format types imports bench lock clean

ARGS ?=
# The tests of one file stay in one process, so that what they share is made once. Two processes more than the cores of a
# small machine: many tests wait for other processes. In the order of their names, because the long ones come first there.
PYTEST_ARGS ?= --numprocesses 4 --dist loadfile --no-loadscope-reorder

VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/python -m uv --quiet pip

# The Python that the environment was made with, unless another is named.
ifndef PYTHON
PYTHON := $(or $(shell sed -n 2p $(VENV)/.base 2>/dev/null),python3)
endif

# uv takes the Python it is given and fetches none, and trusts whom the machine trusts; what belongs to another environment
# stays out of ours.
UV_SYSTEM_CERTS ?= 1
export UV_SYSTEM_CERTS
export UV_PYTHON_PREFERENCE := only-system
export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_USER := 0
unexport PYTHONHOME
unexport PYTHONPATH
unexport VIRTUAL_ENV

# An environment that was moved, is of another Python, or whose Python has gone, is made anew.
MADE_OF := printf '%s\n' "$(CURDIR)" "$(PYTHON)"
$(shell [ "$$(cat $(VENV)/.base 2>/dev/null)" = "$$($(MADE_OF))" ] && $(BIN)/python -c '' 2>/dev/null || rm -f $(VENV)/.base)

help: ## show these words
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## migrate a real collection under live traffic on the embedded store, and show it
	@$(BIN)/undrift demo $(ARGS)

test: $(VENV)/.dev ## run the tests (ARGS='tests/unit -k NAME' for some of them, ARGS='-m long' for the long forms)
	@$(BIN)/python -m pytest $(PYTEST_ARGS) -m 'not long' $(ARGS)

# The clients and engines of every store are large, so they have an environment of their own, and `make test` stays lean.
ALL := .venv-all
test-all: ## run everything, with the engine of every store that a package brings (ARGS as for test)
	@$(MAKE) --no-print-directory VENV=$(ALL) $(ALL)/.all
	@$(ALL)/bin/python -m pytest $(PYTEST_ARGS) $(ARGS)

conformance: ## run the kit for stores on every engine, and write its report (ARGS=--only-show writes none)
	@$(MAKE) --no-print-directory VENV=$(ALL) $(ALL)/.all
	@$(ALL)/bin/python -m scripts.conformance $(ARGS)

simulate: ARGS = --seeds 0:100000
simulate: $(VENV)/.dev ## run seeds of the simulation (ARGS='--seeds 0:1000', ARGS=--mutants, or one seed to see it)
	@$(BIN)/python -m tests.simulation --jobs 2 $(ARGS)

lint: rules format types imports ## check style, layout, types and who imports whom

rules: $(VENV)/.dev
	$(BIN)/ruff check .

format: $(VENV)/.dev
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/.dev ## measure what the product promises (ARGS is handed on)
	@$(BIN)/python -m benchmarks $(ARGS)

torture: $(VENV)/.dev ## kill and disturb real processes, and compare (ARGS='--kills 10000 --seed N'; again: it goes on counting)
	@$(BIN)/python -m tests.torture $(ARGS)

# demo.txt is a part of dev.txt, so one environment can hold both.
lock: COMPILE = $(UV) compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' $(ARGS)
lock: $(VENV)/.base ## resolve the dependencies again (ARGS=--upgrade for the newest)
	$(COMPILE) requirements/uv.in --output-file requirements/uv.txt
	$(COMPILE) pyproject.toml --extra demo --group build --output-file requirements/demo.txt
	$(COMPILE) pyproject.toml --extra demo --extra notify --extra otel --extra postgres --extra server --group dev --constraints requirements/demo.txt --output-file requirements/dev.txt
	$(COMPILE) pyproject.toml --extra demo --extra notify --extra server --extra stores --extra providers --extra ray --extra tokenizers --group stores --constraints requirements/dev.txt --output-file requirements/all.txt

clean: ## remove the environment and everything the tools leave behind
	rm -rf $(VENV) $(ALL) dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# A stamp is written last, so a set-up that was interrupted is done again.
$(VENV)/.base: requirements/uv.txt
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "undrift needs Python 3.11 or newer, and there is no $(PYTHON); name one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "undrift needs Python 3.11 or newer, and $(PYTHON) is $$("$(PYTHON)" -V 2>&1); name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make a virtual environment; install its venv package (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@echo "set-up: a virtual environment in $(VENV)" >&2
	@"$(PYTHON)" -m venv --clear $(VENV)
	@echo "set-up: uv, the installer" >&2
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/uv.txt
	@$(MADE_OF) > $@

# Where only pip was told which index to use, uv cannot reach one; the locks bind both.
define install
	@echo "set-up: the locked requirements of requirements/$(1).txt" >&2
	@$(UV) install --python $(BIN)/python --require-hashes --requirements requirements/$(1).txt || { \
	  echo "set-up: uv could not; once more with pip" >&2; \
	  $(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/$(1).txt; }
	@echo "set-up: undrift itself" >&2
	@$(UV) install --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@
endef

$(VENV)/.demo: $(VENV)/.base requirements/demo.txt pyproject.toml
	$(call install,demo)

$(VENV)/.dev: $(VENV)/.base requirements/dev.txt pyproject.toml
	$(call install,dev)

$(VENV)/.all: $(VENV)/.base requirements/all.txt pyproject.toml
	$(call install,all)
