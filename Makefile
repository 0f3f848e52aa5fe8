PYTHON ?= python3.11
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: install demo test clean

# Two commands on a fresh machine: `make demo` builds a small dataset, `make test` runs the tests.

install: $(VENV)/core

demo: $(VENV)/core
	$(BIN)/audioedit build configs/demo.yaml -o runs/demo

test: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/python -m pytest

$(VENV)/core: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --prefer-binary --constraint constraints.txt --editable .
	$(BIN)/python -m pip install --quiet --no-deps tinysoundfont==0.3.7
	touch $@

$(VENV)/test: $(VENV)/core
	$(BIN)/python -m pip install --quiet --prefer-binary --constraint constraints.txt --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) runs
