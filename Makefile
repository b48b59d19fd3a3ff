# Each target does all its own set-up: Python 3.11 or later and the package registry suffice.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check install --quiet --progress-bar off

.PHONY: demo test bench clean

demo: $(VENV)/installed
	$(BIN)/medstrata demo --out runs/demo

test: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/guard.py

bench: $(VENV)/installed-bench
	$(BIN)/python benchmarks/views.py
	$(BIN)/python benchmarks/ceiling.py
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/bootstrap.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/prepare.py
	$(BIN)/python benchmarks/audit.py
	$(BIN)/python benchmarks/similarity.py
	$(BIN)/python benchmarks/startup.py

clean:
	rm -rf $(VENV) runs/demo

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml
	@echo "installing into $(VENV): PyTorch is large, this takes a minute or more"
	$(PIP) -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) -e ".[dev]"
	touch $@

$(VENV)/installed-bench: $(VENV)/installed-dev
	$(PIP) -e ".[bench]"
	touch $@
