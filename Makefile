# Each target does all of its own set-up on a machine that has Python 3.11 or later, venv and make.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
JOBS ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)

.PHONY: setup quick test check bench prove lint clean

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

# The project's own gate: every estimator against the committed baselines, two minutes on 2 cores.
check: $(STAMP)
	$(BIN)/benchbed run experiments/gate.yaml -j $(JOBS)
	$(BIN)/benchbed run experiments/gate-tuned.yaml -j $(JOBS)
	$(BIN)/benchbed check results/gate --baseline results/baseline/gate.jsonl
	$(BIN)/benchbed check results/gate-tuned --baseline results/baseline/gate-tuned.jsonl

# Every estimator's gradients a second, with pytest-benchmark; the table with ratios is make prove's.
bench: $(STAMP)
	$(BIN)/python -m pytest tests/benchmarks --benchmark-only

# Some hundred minutes on 2 cores, forty of them trying the gate on itself and sixteen compiling every
# estimator's draws; the sweeps, and the gate's trials, go on where they were. Writes results/proof/.
# Timings come first and alone.
COMPILED := tests/test_compiled.py tests/test_compiled_law.py
prove: $(STAMP)
	$(BIN)/python -m pytest tests/benchmarks -m prove -q
	$(BIN)/python -m pytest --ignore tests/benchmarks $(COMPILED:%=--ignore %) -m prove -rP
	$(BIN)/python -m pytest $(COMPILED) -m prove -n $(JOBS) -q
	$(BIN)/benchbed run experiments/golden.yaml
	$(BIN)/benchbed table results/golden > results/proof/golden.md

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv
