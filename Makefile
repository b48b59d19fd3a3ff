# Each target does all its own set-up: Python 3.11 or later and the package registry suffice.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check install --quiet --progress-bar off

.PHONY: demo test docs bench clean

demo: $(VENV)/installed
	$(BIN)/medstrata demo --out runs/demo

test: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/guard.py

docs: $(VENV)/installed-dev
	$(BIN)/mkdocs build --strict

# AGAIN=1 measures anew what this machine has measured; QUICK=1 tries everything in minutes.
bench: $(VENV)/installed-bench
	$(BIN)/python benchmarks/run.py $(if $(filter 1,$(AGAIN)),--again) $(if $(filter 1,$(QUICK)),--quick)

clean:
	rm -rf $(VENV) runs/demo site

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml
	@echo "installing into $(VENV): PyTorch is large, this takes a minute or more"
	$(PIP) -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) -e ".[dev]"
	touch $@

$(VENV)/installed-bench: $(VENV)/installed
	$(PIP) -e ".[bench]"
	touch $@
