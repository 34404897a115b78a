# Every target sets up what it needs; nothing has to be installed by hand beyond Python 3.11, pip and make.
PORT ?= 8501
HEADLESS ?= 0
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.setup-stamp
export OMP_NUM_THREADS ?= 2

.PHONY: setup app test lint bench sample-runs sample-runs-full screenshots clean

setup: $(STAMP)

# torch first and alone: resolved together with the rest, a looser requirement can pull a CUDA build of several gigabytes
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

app: setup
	$(BIN)/ple app --port $(PORT) $(if $(filter 1,$(HEADLESS)),--headless)

test: setup
	bash tests/browser/install_browser.sh
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/ple bench

sample-runs: setup
	$(BIN)/python -m sample_runs.make

# goes on where it was stopped; what it needs some hours for is kept in build/sample-runs-full
sample-runs-full: setup
	$(BIN)/python -m sample_runs.make --full

screenshots: setup
	bash tests/browser/install_browser.sh
	$(BIN)/python -m tests.browser.screenshots

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
