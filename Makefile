# Everything sets itself up in .venv; plain Python (3.11 to 3.13) with venv and pip is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run test test-all fuzz chaos plots lint docs bench thesis study clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

run: $(READY)  ## the main job: ADAG on the digits with 4 workers on real processes
	$(BIN)/distopt run workers=4

test: $(READY)  ## the quick tests, some minutes on two cores: every optimizer and launcher, real Ray, a killed worker, a browser
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow"

test-all: $(READY)  ## all tests: also those marked slow, which repeat with other settings what the quick ones cover
	$(BIN)/python -m pytest -n 2 --dist loadgroup

fuzz: $(READY)  ## damaged files and strange settings, as many as there are in half an hour
	DISTOPT_FUZZ=many $(BIN)/python -m pytest tests/fuzz

chaos: $(READY)  ## every optimizer trains while its processes are killed and its messages lost; goes on where it stopped
	$(BIN)/python -m scripts.chaos --page

plots: $(READY)  ## redraw every figure from what lies under results/
	$(BIN)/distopt plot results

lint: $(READY)  ## style, types, and what may import what
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: $(READY)  ## the documentation, into site/
	$(BIN)/python -m sphinx -W -q docs site
	@echo site/index.html

bench: $(READY)  ## speed and memory, as a table and JSON
	$(BIN)/python -m scripts.bench

thesis: $(READY)  ## the claims of the thesis, measured anew within an hour on two cores; goes on where it stopped
	$(BIN)/python -m scripts.thesis

study: $(READY)  ## all optimizers compared with equal tuning budgets, a night on two cores; goes on where it stopped
	$(BIN)/python -m scripts.study

clean:
	rm -rf $(VENV) build dist *.egg-info
