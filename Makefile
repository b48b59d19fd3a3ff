# Each target does all its own set-up: Python 3.11 or later and the package registry suffice.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check install --quiet --progress-bar off

# What is imported is compiled once, not in each of the many processes that the tests start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test types tests test-slow test-minimal torture docs bench licences clean

demo: $(VENV)/installed
	$(BIN)/medstrata demo --out runs/demo

test: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	# Types, in one process, and the tests at the same time.
	$(MAKE) --jobs=2 types tests
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/guard.py

types: $(VENV)/installed-dev
	$(BIN)/mypy

# What the tests write goes with them; a run that was killed leaves gigabytes to the next.
SCRATCH = $(or $(TMPDIR),/tmp)/medstrata-$(firstword $(shell pwd | cksum))

# One thread: with more, a busy machine makes small sums wait for each other. Stealing work keeps
# tests that share what takes long to make with one process, but for those at the end.
# `test-slow` runs those that take more than a minute each, which `tests` leaves out.
test-slow: SELECTED = -m slow
tests test-slow: $(VENV)/installed-dev
	rm -rf "$(SCRATCH)" && mkdir -p "$(SCRATCH)"
	OMP_NUM_THREADS=1 TMPDIR="$(SCRATCH)" $(BIN)/python -m pytest $(SELECTED) --numprocesses=auto --maxprocesses=4 --dist=worksteal
	rm -rf "$(SCRATCH)"

# The oldest versions that pyproject.toml allows; PyTorch of that age has wheels up to Python 3.13.
test-minimal:
	$(PYTHON) -m venv $(VENV)-minimal
	$(VENV)-minimal/bin/python -m pip --disable-pip-version-check install --quiet --progress-bar off \
		-e ".[dicom,hdf5,nifti,slurm,streaming,tensorboard]" -c constraints/minimal.txt \
		"pytest>=8.3" "tifffile>=2024.1.30" "SimpleITK>=2.4" "hypothesis>=6.100" "moto[server]>=5.0"
	$(VENV)-minimal/bin/python -m pytest -o filterwarnings=default @constraints/minimal_tests.txt \
		-k "not wandb and not mlflow"

# Kills, signals, full disks, damage, hostile files and load; half an hour. It goes on after the last
# section that it has done, and writes docs/results/reliability.md.
torture: $(VENV)/installed-dev
	nice -n 10 $(BIN)/python torture/run.py --page

docs: $(VENV)/installed-dev
	$(BIN)/mkdocs build --strict

# AGAIN=1 measures anew what this machine has measured; QUICK=1 tries everything in minutes.
bench: $(VENV)/installed-bench
	$(BIN)/python benchmarks/run.py $(if $(filter 1,$(AGAIN)),--again) $(if $(filter 1,$(QUICK)),--quick)

# The licences of all that `medstrata[all]` rests on, and the same as a CycloneDX list.
licences: $(VENV)/installed
	$(PYTHON) -m venv $(VENV)-licences
	$(VENV)-licences/bin/python -m pip install --quiet --progress-bar off ".[all]"
	$(PIP) "pip-licenses>=5" "cyclonedx-bom>=7"
	mkdir -p dist
	$(BIN)/pip-licenses --python=$(VENV)-licences/bin/python --format=markdown --output-file=dist/licences.md
	$(BIN)/cyclonedx-py environment --output-file dist/sbom.json $(VENV)-licences/bin/python

clean:
	rm -rf $(VENV) runs/demo site

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml
	@echo "installing into $(VENV): PyTorch is large, this takes a minute or more"
	$(PIP) -e .
	touch $@

# Compiling all of it beforehand takes a minute and more; the tests import a part.
$(VENV)/installed-dev: $(VENV)/bin/python pyproject.toml
	@echo "installing into $(VENV): PyTorch and the tools of the tests, this takes minutes"
	$(PIP) --no-compile -e ".[dev]"
	touch $(VENV)/installed $@

$(VENV)/installed-bench: $(VENV)/installed
	$(PIP) -e ".[bench]"
	touch $@
