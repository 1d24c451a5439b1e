# Everything sets itself up: the virtual environment in .venv, from the hash-checked lock.
# PYTHON names the interpreter (3.11 to 3.13); without it, tools/pick_python does.
PYTHON ?= $(shell tools/pick_python)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test shake check bench fuzz soak aarch64 docs clean

demo: $(STAMP)
	@$(BIN)/outrider demo

test: $(STAMP)
	$(BIN)/python -m pytest

# The tests with delays where threads hand over, and new examples, both at random; ONLY= names some, SEED= is told.
shake: $(STAMP)
	@seed=$${SEED:-$$(od -An -N2 -tu2 /dev/urandom)}; echo SEED=$$seed; SHAKE=$$seed $(BIN)/python -m pytest -p tools.shaken $(ONLY)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -x tests/house tests/protocol tests/policies

bench: $(STAMP)
	$(BIN)/python -m bench

# A million hostile frames against the gate; SEED= begins at the seed that a failure told.
fuzz: $(STAMP)
	@PYTHONPATH=tests/sandbox SEED=$(SEED) $(BIN)/python -m fuzz

# Ten thousand runs in a row, and what is left of them.
soak: $(STAMP)
	@PYTHONPATH=tests/sandbox $(BIN)/python -m soak

# The kernel interface and the walls on an emulated aarch64 machine; docs/aarch64.md says what that needs.
aarch64: $(STAMP)
	@tools/on_aarch64

docs: $(STAMP)
	$(BIN)/python -m cli.reference
	$(BIN)/python -m stdlib.reference
	$(BIN)/python -m server.api.description

clean:
	rm -rf $(VENV) .demo

$(STAMP): requirements/dev.lock pyproject.toml
	@test -x $(BIN)/python || { python="$(PYTHON)"; test -n "$$python" && $$python -m venv $(VENV); }
	@echo "installing the locked dependencies into $(VENV), for $$($(BIN)/python -V)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)
