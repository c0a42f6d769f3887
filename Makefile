# make search    set up and run the main job on the embedded digits
# make test      set up, fetch the tests' data, lint, test, and check the built wheel
# make lint      set up, ruff and mypy
# PYTHON and VENV choose the interpreter (3.11 or later) and the environment's folder.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
WHEEL = .wheel-check

# Sums depend on the number of threads, and two test processes share two cores.
export OMP_NUM_THREADS ?= 1

.PHONY: search test data lint pytest wheel

search: $(READY)
	$(BIN)/hpo-gn search

test: data lint pytest wheel

data: $(READY)
	$(BIN)/python tests/fetch_data.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

pytest: $(READY) data
	$(BIN)/pytest -q -n 2

wheel: $(READY)
	rm -rf $(WHEEL)
	$(BIN)/python -m build --outdir $(WHEEL) . > $(VENV)/build.log 2>&1 || { cat $(VENV)/build.log; exit 1; }
	$(PYTHON) -m venv $(WHEEL)/venv
	$(WHEEL)/venv/bin/pip install -qq --disable-pip-version-check -c constraints.txt $(WHEEL)/*.whl
	cd $(WHEEL) && venv/bin/python -P ../tests/check_wheel.py
	rm -rf $(WHEEL)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("hpo_gn needs Python 3.11 or later: make PYTHON=..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -qq --disable-pip-version-check --upgrade 'pip>=25.1'
	@echo "$(BIN)/pip install -c constraints.txt -e .[bohb,postgresql] --group dev"
	@$(BIN)/pip install -qq -c constraints.txt -e '.[bohb,postgresql]' --group dev 2> $(VENV)/bohb.log \
	|| { echo "warning: without the searcher bohb, whose netifaces needs a C compiler; see $(VENV)/bohb.log"; \
	     $(BIN)/pip install -qq -c constraints.txt -e '.[postgresql]' --group dev; }
	@touch $@
