# Gatepost: `make` prints the targets. Each target sets up what it needs; the only thing used from
# outside is the package index, and everything taken from it is pinned by hash.

PYTHON      ?= python3
PYTEST_ARGS ?=
SEED        ?=
MUTANT      ?=
SEEDS       ?=
EXAMPLES    ?= 200000
UV_VERSION  := 0.13.9

VENV      := .venv
BIN       := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP       := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCK      := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
             --no-emit-index-url --no-header

# Directories with Python in them, so that a checkout without one of them still lints.
SOURCES := $(patsubst %/,%,$(sort $(dir $(wildcard \
           gateway/*.py policy_cache/*.py spool/*.py sidecar/*.py central/*.py gatepost/*.py \
           tests/*.py bench/*.py examples/*.py))))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help dev demo up test lint fmt fuzz test-system sim sim-coverage mutants bench docs wheel lock clean

help:  ## print this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' \
	    $(firstword $(MAKEFILE_LIST))

dev: $(INSTALLED)  ## make .venv with everything that development needs

demo: $(INSTALLED)  ## run the whole system once: real SDKs, a denied call, the offline verifier
	$(BIN)/gatepost demo

up: $(INSTALLED)  ## keep the same system running in the foreground
	$(BIN)/gatepost up

test: lint  ## lint, then unit, simulation and integration tests
	$(BIN)/pytest -m "not system" $(PYTEST_ARGS)

lint: $(INSTALLED)  ## style, types and the dependency rule
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports --no-cache --no-logo

fmt: $(INSTALLED)  ## format, and fix what can be fixed
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

fuzz: $(INSTALLED)  ## mutated policy documents and exports at their verifiers, for long; EXAMPLES=200000
	GATEPOST_FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/pytest --timeout=0 \
	    tests/unit/policy_cache/test_trusted_fuzz.py tests/unit/gateway/test_evidence_fuzz.py \
	    $(PYTEST_ARGS)

test-system: $(INSTALLED)  ## tests that need root, namespaces or apt; a skip fails
	GATEPOST_SKIPS_FAIL=1 $(BIN)/pytest -m system $(PYTEST_ARGS)

sim: $(INSTALLED)  ## the simulated worlds; SEED=7 replays one, SEEDS=200 runs the first 200
	GATEPOST_SIM_SEED=$(SEED) GATEPOST_SIM_SEEDS=$(SEEDS) \
	    $(BIN)/pytest $(if $(SEED),tests/sim/test_world.py -k "world_of",tests/sim) $(PYTEST_ARGS)

sim-coverage: $(INSTALLED)  ## what the simulated world runs of the daemon; fails below 85 %
	$(BIN)/python -m tests.sim.coverage

mutants: $(INSTALLED)  ## break the source on purpose: each must be noticed; MUTANT=name
	$(BIN)/python -m tests.mutants $(MUTANT)

bench: $(INSTALLED)  ## CPU and latency per call, policy, spool, record store, verifier; precision and recall
	$(BIN)/python -m bench

docs: $(INSTALLED)  ## write the generated pages and the golden files anew
	GATEPOST_UPDATE_GOLDEN=1 $(BIN)/pytest -q -k "golden or generated"

wheel: $(INSTALLED)  ## build the wheel into dist/
	$(BIN)/python -m hatchling build -t wheel

lock: $(BIN)/python  ## resolve pyproject.toml anew into requirements/*.lock
	$(PIP) install "uv==$(UV_VERSION)"
	$(LOCK) --all-extras --group dev pyproject.toml -o requirements/dev.lock
	$(LOCK) --extra central pyproject.toml -o requirements/runtime.lock
	$(LOCK) --group build --constraints requirements/dev.lock -o requirements/build.lock

clean:  ## remove the environment and everything built
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Gatepost needs Python 3.11 or newer. Name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
	    exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "$(PYTHON) cannot make a virtual environment. Install its venv module" \
	         "(Debian, Ubuntu: python3-venv) or name another: make PYTHON=..." >&2; exit 2; }

# The stamp is newer than what it was installed from, so a second run installs nothing.
$(INSTALLED): requirements/dev.lock pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes -r requirements/dev.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@
