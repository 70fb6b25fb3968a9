# Needs git, make and Python >= 3.11. Everything is set up in .venv from requirements.lock.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/ready
RUN := $(VENV)/bin

.PHONY: demo test golden pages setup lint clean

demo: $(READY)
	$(RUN)/pellucid decompile zoo:village -o demo/village

test: $(READY) lint
	OMP_NUM_THREADS=1 $(RUN)/python -m pytest -n 2 -q

# Write anew what the golden tests compare with: after a change that is meant to change programs or figures.
golden: $(READY)
	$(RUN)/python benchmarks/golden.py --brief --write
	$(RUN)/python benchmarks/golden.py --write

# Write anew the pages that are made of the source.
pages: $(READY)
	$(RUN)/python tools/architecture.py
	$(RUN)/python tools/api.py

lint: $(READY)
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

setup: $(READY)

$(READY): pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $(READY)

clean:
	rm -rf $(VENV) demo
