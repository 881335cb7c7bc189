# `make run` and `make test` need nothing but Python >= 3.11 and make: they set up a virtual environment of their own.
PYTHON ?= python3
VENV ?= .venv
BENCH_VENV ?= .venv-bench
BIN := $(VENV)/bin
JOB ?= examples/diabetes.yaml
export RAY_USAGE_STATS_ENABLED ?= 0

.DEFAULT_GOAL := help

.PHONY: help
help:  ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; try: make PYTHON=python3.12"; exit 2; }
	@echo "setting up $(VENV) (once, a minute or two)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

.PHONY: setup
setup: $(VENV)/.installed  ## Set up the virtual environment

.PHONY: run
run: setup  ## Run the main job (JOB=examples/...) on an embedded Ray cluster
	@$(BIN)/apportion run $(JOB)

.PHONY: test
test: setup  ## Run the tests, under 10 minutes
	@$(BIN)/python -m pytest -m "not long"

.PHONY: test-all
test-all: setup  ## Run all tests, the long ones too
	@$(BIN)/python -m pytest

.PHONY: check
check: setup  ## Check format, lint, types and import rules, and run the fast tests (before each commit)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	@$(BIN)/python -m pytest -m "not cluster and not long" -x -n auto

.PHONY: format
format: setup  ## Format the code and mend what the linter can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: bench-overhead
bench-overhead: setup  ## Time a round and the start-up beside bare Ray
	@$(BIN)/python -m benchmarks.overhead

.PHONY: bench-memory
bench-memory: setup  ## Measure what driver and workers hold in memory for large files
	@$(BIN)/python -m benchmarks.memory

# The peers' libraries are large (dask-ml, torch), so they have an environment of their own. Where they cannot be had,
# `python -m benchmarks.learning` in any environment leaves their peers out and says why.
$(BENCH_VENV)/.installed: pyproject.toml
	@echo "setting up $(BENCH_VENV) (once, some minutes)"
	@$(PYTHON) -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

.PHONY: bench-learning
bench-learning: $(BENCH_VENV)/.installed  ## Time training beside scikit-learn, dask-ml, Ray Train and bare Ray (OPTIONS=--quick)
	@$(BENCH_VENV)/bin/python -m benchmarks.learning $(OPTIONS)

.PHONY: bench-convergence
bench-convergence: setup  ## Count rounds and seconds to the optimum for every solver, and write docs/convergence.md
	@$(BIN)/python -m benchmarks.convergence --page docs/convergence.md $(OPTIONS)

.PHONY: bench-openb
bench-openb: setup  ## Replay the OpenB trace beside the published table (OPTIONS="--seeds 2")
	@$(BIN)/python -m benchmarks.openb $(OPTIONS)

.PHONY: bench-gavel
bench-gavel: setup  ## Schedule Gavel's static jobs beside its published makespans (OPTIONS="--seeds 0 --jobs 100")
	@$(BIN)/python -m benchmarks.gavel $(OPTIONS)

.PHONY: bench-published
bench-published: setup  ## Simulate published experiments beside their tables, 10 minutes (OPTIONS="--only shockwave")
	@$(BIN)/python -m benchmarks.published $(OPTIONS)

.PHONY: bench-balance
bench-balance: setup  ## Compare balances with the lower bound, and on two jobs with stragglers
	@$(BIN)/python -m benchmarks.balance $(OPTIONS)

.PHONY: bench-decisions
bench-decisions: setup  ## Time decisions of policies as clusters and jobs grow
	@$(BIN)/python -m benchmarks.decisions $(OPTIONS)

.PHONY: bench-worlds
bench-worlds: setup  ## Simulate 10,000 small random worlds with faults, and check that everything adds up
	@$(BIN)/python -m benchmarks.worlds $(OPTIONS)

.PHONY: bench-chaos
bench-chaos: setup  ## Kill workers, servers, nodes and drivers of real runs 200 times, 30 minutes (OPTIONS="--kills 20")
	@$(BIN)/python -m benchmarks.chaos $(OPTIONS)

.PHONY: bench-service
bench-service: setup  ## Burst, resizes, twenty jobs of three tenants under six policies, and beside the plain Jobs API (35 minutes; OPTIONS="burst")
	@$(BIN)/python -m benchmarks.service $(OPTIONS)

.PHONY: bench-soak
bench-soak: setup  ## Compute 20,000 rounds with a death every 500, and look for what grows or is left behind
	@$(BIN)/python -m benchmarks.soak $(OPTIONS)

.PHONY: bench-fuzz
bench-fuzz: setup  ## Read 100,000 broken files of every kind as the commands do: a result or one clear message (OPTIONS="--only job")
	@$(BIN)/python -m benchmarks.fuzz $(OPTIONS)

.PHONY: bench-mixed
bench-mixed: $(BENCH_VENV)/.installed  ## Train on a lab of mixed nodes beside the bound and Ray Train (root on Linux, 30 minutes; OPTIONS="slowing bandwidth")
	@$(BENCH_VENV)/bin/python -m benchmarks.mixed $(OPTIONS)

.PHONY: bench-fidelity
bench-fidelity: setup  ## Hold the simulator against a real cluster of slow nodes (root on Linux, 20 minutes, nothing else running)
	@$(BIN)/python -m benchmarks.fidelity $(OPTIONS)

.PHONY: bench-simulator
bench-simulator: setup  ## Time the simulator on the OpenB trace and on large fleets (OPTIONS="--cases thousand")
	@$(BIN)/python -m benchmarks.simulator $(OPTIONS)

.PHONY: docs-metrics
docs-metrics: setup  ## Write docs/metrics.md from the definitions of the measures
	@$(BIN)/python -m scheduler.report.measures_page > docs/metrics.md

.PHONY: docs-policies
docs-policies: setup  ## Write docs/policies.md from the docstrings of the policies
	@$(BIN)/python -m scheduler.report.catalogue > docs/policies.md

.PHONY: clean
clean:  ## Remove the virtual environment, caches and runs
	@rm -rf $(VENV) $(BENCH_VENV) runs build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
