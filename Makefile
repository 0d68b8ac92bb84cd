# The two commands of the README are `make quickstart` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help docs quickstart test test-long test-faults test-cuda check format benchmarks clean-venv

help:
	@echo "make quickstart   set up .venv and run configs/quickstart.yaml on the CPU or a GPU"
	@echo "make test         set up .venv and run the tests"
	@echo "make check        formatting, lint and types"
	@echo "make test-long    the tests that take minutes"
	@echo "make test-faults  runs that are killed at every moment, half an hour"
	@echo "make test-cuda    the tests that need a CUDA device"
	@echo "make benchmarks   the benchmarks for a CPU, with one table at the end"
	@echo "make docs         the generated pages: configuration, commands, architecture"
	@echo "make format       format the sources"

quickstart: .venv/run
	@$(BIN)/python run_pipeline.py run configs/quickstart.yaml
	@echo; cat runs/quickstart/report/report.md; echo
	@echo "The report, for a browser: runs/quickstart/report/report.html"

# Two processes of one thread each: faster than one process of two threads, as much of a test is no
# arithmetic. The tests of a file stay together, because they share runs.
test: .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-long: .venv/dev
	$(BIN)/python -m pytest -m long

test-faults: .venv/dev
	$(BIN)/python -m pytest -m faults tests/faults

test-cuda: .venv/dev
	$(BIN)/python -m pytest -m cuda

check: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/dev
	$(BIN)/python -m pipeline.reference

benchmarks: .venv/dev quickstart
	$(BIN)/python -m benchmarks

.venv/run: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name it: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt .
	@touch $@

.venv/dev: .venv/run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt '.[dev]'
	@touch $@

clean-venv:
	rm -rf .venv
