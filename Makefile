# `make demo` and `make test` work from a fresh clone: both build .venv first. Everything they write is ignored by git.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH := $(shell grep '^torch==' constraints.txt)
# One thread per worker: two test workers with a thread pool each would fight over the same cores.
TEST_ENV := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
JOBS ?= 2

.PHONY: demo test lint format schema clean help

help:
	@echo "make demo    the whole story on built-in images, on a CPU: demo/report.html"
	@echo "make test    ruff, mypy, pytest"
	@echo "make lint    ruff and mypy only        make format   let ruff format the code"
	@echo "make schema  rewrite docs/records.schema.json        make clean    remove what make made"

# torch goes first, pinned, so that no other requirement pulls in another build of it.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11: run make PYTHON=python3.11 (or newer)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt $(TORCH)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/medproof demo --out demo

test: lint
	$(TEST_ENV) $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: $(STAMP)
	$(BIN)/python scripts/write_schema.py

clean:
	rm -rf $(VENV) demo runs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
