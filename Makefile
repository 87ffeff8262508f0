# Two commands for a bare clone: `make demo` trains the flights table, `make test` checks everything.
# Both need make and python3 (3.11 or newer) alone, and are quick when run again.
PYTHON ?= python3
BIN := .venv/bin
TESTS ?= tests
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint slow checked soak bench bench-all bench-quick bench-accuracy clean

demo: .venv/.installed
	rm -rf runs/demo
	$(BIN)/mbgd train examples/flights.parquet --target arr_delay --out runs/demo
	$(BIN)/mbgd predict runs/demo examples/flights.parquet --out runs/demo/predictions.csv --keep carrier --keep arr_delay
	@head -n 4 runs/demo/predictions.csv

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow and not soak"

lint: .venv/.tested
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

slow: .venv/.tested
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "slow and not soak" $(TESTS)

# The quick tier once more, with kernels whose every read and write is checked; what it takes is not held to any budget.
checked: .venv/.tested
	MBGD_CHECK_BOUNDS=1 OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow and not soak" $(TESTS)

soak: .venv/.tested
	OMP_NUM_THREADS=1 $(BIN)/pytest -m soak

# The benchmarks have an environment of their own, with the peers. Let nothing else run beside them.
BENCH := .venv-bench/bin/python bench/run.py

bench: .venv-bench/.installed
	$(BENCH) --json bench/RESULTS.json --markdown bench/RESULTS.md

bench-all: .venv-bench/.installed-all
	$(BENCH) --all --json bench/RESULTS-all.json --markdown bench/RESULTS-all.md

bench-quick: .venv-bench/.installed
	$(BENCH) --quick

# Goes on where it was interrupted: what is in RESULTS.jsonl is not run again.
bench-accuracy: .venv-accuracy/.installed
	.venv-accuracy/bin/python bench/accuracy/run.py --report bench/accuracy/RESULTS.md

clean:
	rm -rf .venv .venv-bench .venv-accuracy runs .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/bin/python .venv-bench/bin/python .venv-accuracy/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "mbgd needs Python 3.11 or newer, got $$($(PYTHON) -V); run 'make PYTHON=/path/to/python3.11'" >&2; exit 2; }
	$(PYTHON) -m venv $(@D:/bin=)

.venv/.installed: .venv/bin/python pyproject.toml constraints.txt
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet --editable .
	@touch $@

.venv/.tested: .venv/bin/python pyproject.toml constraints.txt
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet --editable '.[dev]'
	@touch .venv/.installed $@

.venv-bench/.installed: .venv-bench/bin/python pyproject.toml constraints.txt bench/requirements.txt
	PIP_CONSTRAINT=constraints.txt .venv-bench/bin/pip install --quiet --editable . -r bench/requirements.txt
	@touch $@

.venv-bench/.installed-all: .venv-bench/.installed bench/requirements-all.txt
	PIP_CONSTRAINT=constraints.txt .venv-bench/bin/pip install --quiet -r bench/requirements-all.txt
	@touch $@

.venv-accuracy/.installed: .venv-accuracy/bin/python pyproject.toml constraints.txt bench/accuracy/requirements.txt
	PIP_CONSTRAINT=constraints.txt .venv-accuracy/bin/pip install --quiet --editable . -r bench/accuracy/requirements.txt
	@touch $@
