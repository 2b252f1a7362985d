# Each target does all of its own set-up on a machine that has Python 3.11 or later, venv and make.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
JOBS ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)

.PHONY: setup quick test bench prove lint clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "benchbed needs Python 3.11 or later, $(PYTHON) is " + sys.version.split()[0] + "; try: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,lint]'
	@touch $(STAMP)

quick: $(STAMP)
	$(BIN)/benchbed run experiments/quick.yaml -j $(JOBS)
	$(BIN)/benchbed report results/quick

# Timings come first and alone: they need the machine to themselves.
test: $(STAMP)
	$(BIN)/python -m pytest tests/benchmarks -m "not prove" -q
	$(BIN)/python -m pytest --ignore tests/benchmarks -m "not prove" -n $(JOBS) -q

bench: $(STAMP)
	$(BIN)/python -m pytest tests/benchmarks --benchmark-only

# Some twenty minutes on 2 cores; stopped, it goes on where it was. Writes results/proof/.
prove: $(STAMP)
	$(BIN)/python -m pytest tests/benchmarks -m prove -q
	$(BIN)/python -m pytest --ignore tests/benchmarks -m prove -rP
	$(BIN)/benchbed run experiments/golden.yaml
	$(BIN)/benchbed table results/golden > results/proof/golden.md

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv
