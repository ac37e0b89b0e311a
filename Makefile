# Two commands do everything: `make run` and `make test`. Each makes its own environment in .venv/.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test check bench words lock clean

run: $(VENV)/.run
	@$(BIN)/python app.py

test: $(VENV)/.test check
	@$(BIN)/python -m pytest

check: $(VENV)/.test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# Side by side with bare Flask and SnapPass, some four minutes; ARGS="--only create claim" for less.
bench: $(VENV)/.test
	@$(BIN)/python -m bench $(ARGS)

# Collect the sentences of code and pages, and compile the catalogues; untranslated ones fail the tests.
words: $(VENV)/.test
	@$(BIN)/pybabel -q extract -F secretsvc/locale/babel.cfg -k N_ --no-location --sort-output -o $(VENV)/messages.pot .
	@$(BIN)/pybabel -q update -i $(VENV)/messages.pot -d secretsvc/locale --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date
	@$(BIN)/pybabel -q compile -d secretsvc/locale

# Debian splits the venv module off; say so instead of a traceback.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "secretsvc needs Python 3.11 or newer; set PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "This Python has no venv module. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(BIN)/python requirements.txt
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.test: $(VENV)/.run tests/requirements.txt
	@$(BIN)/python -m pip install --quiet --require-hashes -r tests/requirements.txt
	@touch $@

# Resolve the pinned requirements anew (needs uv; only for maintainers).
lock:
	uv pip compile --universal --generate-hashes --no-header --no-emit-index-url --python-version 3.11 --upgrade --extra embedded pyproject.toml -o requirements.txt
	uv pip compile --universal --generate-hashes --no-header --no-emit-index-url --python-version 3.11 --upgrade -c requirements.txt tests/requirements.in -o tests/requirements.txt

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis
