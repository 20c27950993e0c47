# Two commands for a newcomer, each doing all of its own set-up: `make bench` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# The tests start hundreds of processes: without bytecode beside the sources each would compile all of them anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install bench faults bench-receivers bench-truth bench-report bench-server test lint type imports unit beside alone own long
.PHONY: constraints pictures clean

help:            ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 18

# The file names every package, so nothing is to be resolved: a newer release of one of them must not get in the way of the pinned one.
install: $(STAMP) ## the virtual environment, from the pinned and hashed constraints
$(STAMP): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; $(PYTHON) is older. Name one: make PYTHON=python3.12 ..."; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing (once; later runs need no network)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m pip check --quiet --disable-pip-version-check
	@touch $@

bench: $(STAMP)  ## the main job: 1000 sockets, 100 broadcasts/s for 60 s on the bundled server, verdict and report
	@$(BIN)/roadmap-harness bench broadcast $(ARGS)

faults: $(STAMP) ## prove the checks: every clause against every seeded fault, about half an hour
	@$(BIN)/roadmap-harness faults $(ARGS)

bench-receivers: $(STAMP) ## how fast the receive path is, against peers, in one run
	@$(BIN)/python -m benchmarks.receivers $(ARGS)

bench-truth: $(STAMP) ## does the report say what was injected: deliveries, delays, a stall, a leak, neglect; about six minutes
	@$(BIN)/python -m benchmarks.truth $(ARGS)

bench-report: $(STAMP) ## how long the report of a run of ten minutes takes
	@$(BIN)/python -m benchmarks.report $(ARGS)

bench-server: $(STAMP) ## the bundled server's fan-out, CPU and memory
	@$(BIN)/python -m benchmarks.server $(ARGS)

test: lint       ## everything that must hold
	@$(MAKE) --no-print-directory --jobs 4 imports type own beside
	@$(MAKE) --no-print-directory alone

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

type: $(STAMP)
	@$(BIN)/mypy

imports: $(STAMP)
	@$(BIN)/lint-imports

# With ARGS a pass may have nothing to run, which pytest calls 5. `own` waits most of its time, so it runs beside the rest. The small passes
# read only the files that speak of their mark.
SOME = { test $$? -eq 5 -a -n "$(ARGS)"; }
MARKED = $(or $(ARGS),$$(grep -rlE --include='test_*.py' 'mark\.$(1)\b' tests))
COVERED = --cov --cov-branch --cov-report=
unit: $(STAMP)
	@$(MAKE) --no-print-directory beside
	@$(MAKE) --no-print-directory alone

beside: $(STAMP)
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m pytest -m "not (alone or own or long)" -n 5 --dist worksteal $(COVERED) $(ARGS) || $(SOME)

alone: $(STAMP)
	@$(BIN)/python -m pytest -m "alone and not long" $(COVERED)term:skip-covered --cov-append $(call MARKED,alone) || $(SOME)

own: $(STAMP)
	@$(BIN)/python -m pytest -m own -q --no-header -p no:cacheprovider $(call MARKED,own) || $(SOME)

long: $(STAMP)   ## what is repeated until it can be believed: minutes, and no part of `make test`
	@$(BIN)/python -m pytest -m long -n 2 $(ARGS)

constraints: $(STAMP) ## pin again what pyproject.toml asks for
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --group dev --upgrade \
	  --custom-compile-command "make constraints" pyproject.toml -o constraints.txt

pictures: $(STAMP) ## take the README's pictures anew, from reports/example
	@$(BIN)/python docs/pictures.py $(ARGS)

clean:           ## remove what can be made again
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* .import_linter_cache
	@find . -name __pycache__ -prune -exec rm -rf {} +
