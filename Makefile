# Every job of this checkout; `make help` lists them. The first one that needs it makes .venv: torch, the locked
# dependencies, then this checkout, editable. uv does it where it is installed, pip otherwise.
#
# torch comes from TORCH_INDEX. The choice is made when .venv is made; remove .venv to choose again.
#   make demo                                                      the CPU build
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cu130   CUDA 13.0
#   make demo TORCH_INDEX=                                         PyPI's build (on Linux: CUDA, several gigabytes)

TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11 python; do \
    $$name $(NEW_ENOUGH) 2>/dev/null && command -v $$name && break; done)

BIN := .venv/bin
LOCKED := .venv/.locked
READY := .venv/.installed
UV := $(shell command -v uv 2>/dev/null)
TORCH := $(shell grep '^torch==' requirements.lock)
# An index that does not answer costs seconds, not minutes.
export UV_HTTP_CONNECT_TIMEOUT ?= 10
export UV_HTTP_TIMEOUT ?= 15
export UV_HTTP_RETRIES ?= 1
# A proxy's certificate is one that the system knows and uv's own list does not.
export UV_SYSTEM_CERTS ?= true
ifdef UV
MAKE_VENV = $(UV) venv --quiet --seed --clear --python $(PYTHON) .venv
# Compiled at once: the first start of so many libraries would take a minute longer.
INSTALL = $(UV) pip install --python $(BIN)/python --compile-bytecode
INSTALL_TORCH = $(INSTALL) --no-deps --default-index $(TORCH_INDEX) $(TORCH)
else
MAKE_VENV = $(PYTHON) -m venv --clear .venv
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check
INSTALL_TORCH = $(INSTALL) --no-deps --timeout 10 --retries 1 --index-url $(TORCH_INDEX) $(TORCH)
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo test foreign personal check format bench wheel screenshots lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(READY)  ## make .venv with the locked dependencies; every target below does it when it is needed

demo: $(READY)  ## a model pruned, judged, released, watched, rolled back and audited; ARGS=--no-serve ends after the table
	$(BIN)/pruneguard demo $(ARGS)

test: $(READY)  ## all tests, in random order; ARGS='tests/ledger -x' runs some
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

foreign: .foreign/.installed  ## .foreign: other people's verifiers in an environment of their own, for tests/foreign

personal: .personal/.installed $(READY)  ## .personal: what the extra `personal` needs, beside .venv; runs the tests that need it
	PYTHONPATH=.personal $(BIN)/python -m pytest tests/evaluation/data_quality/test_recognised.py

check: $(READY)  ## what CI runs: format, lint, types, imports, then `make test`
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory test

format: $(READY)  ## format and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)  ## one benchmark: NAME=ledger; without a name, which there are; QUICK=1 does less work
	$(BIN)/python -m benchmarks $(NAME) $(if $(QUICK),--quick)

wheel: $(READY)  ## dist/*.whl: what a model's author and an auditor install
	$(BIN)/python -m hatchling build --target wheel

screenshots: $(READY)  ## docs/screenshots/*.png: each dashboard page over the demo, in headless Chromium
	SCREENSHOTS=docs/screenshots $(BIN)/python -m pytest tests/flows/test_demo.py

lock:  ## renew requirements.lock from pyproject.toml with uv; ARGS=--upgrade moves the versions that stand in it
	@command -v uv >/dev/null || { echo 'make lock needs uv: pip install uv' >&2; exit 1; }
	uv pip compile pyproject.toml --extra service --extra dev --universal --python-version 3.11 \
	    --no-header --no-annotate --quiet --output-file requirements.lock $(ARGS)
	@# What only CUDA builds of torch need: such a build names it itself, the CPU build must not pull it.
	sed -i.old -E '/^(nvidia|cuda|triton)/d' requirements.lock && rm requirements.lock.old

clean:  ## remove what tools left behind; .venv, .foreign and var stay
	rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . \( -path ./.venv -o -path ./.foreign \) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

.foreign/.installed: tests/foreign/requirements.txt
ifdef UV
	$(UV) venv --quiet --clear --python $(PYTHON) .foreign
	$(UV) pip install --quiet --python .foreign/bin/python -r $<
else
	$(PYTHON) -m venv --clear .foreign
	.foreign/bin/python -m pip install --quiet --disable-pip-version-check -r $<
endif
	@touch $@

# Beside the environment and not in it: with it there, whatever admits data would read it first, for seconds.
.personal/.installed: pyproject.toml requirements.lock $(READY)
	rm -rf .personal
	$(INSTALL) --quiet --target .personal -c requirements.lock "$$(sed -n 's/^personal = \["\(.*\)"\]$$/\1/p' pyproject.toml)"
	@touch $@

# Stamps are touched last, so that an interrupted installation starts over.
$(LOCKED): requirements.lock
	$(if $(PYTHON),,$(error PruneGuard needs Python 3.11 or newer; found $(or $(shell python3 --version 2>&1),none). \
	    Install one, or name it: make PYTHON=/path/to/python3.12))
	@$(PYTHON) $(NEW_ENOUGH) || { echo 'PruneGuard needs Python 3.11 or newer; PYTHON=$(PYTHON) is not' >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(MAKE_VENV)
ifneq ($(TORCH_INDEX),)
	@echo '$(TORCH) from $(TORCH_INDEX)'
	@$(INSTALL_TORCH) \
	|| { echo '$(TORCH_INDEX) gave no $(TORCH); looking where pip is configured to find wheels'; \
	     $(BIN)/python -m pip install --quiet --no-deps --no-index $(TORCH); } \
	|| { echo 'No $(TORCH) at $(TORCH_INDEX). Make it reachable, or accept what PyPI holds' \
	          '(on Linux: CUDA, several gigabytes): make TORCH_INDEX=' >&2; exit 1; }
endif
	$(INSTALL) -r requirements.lock
	@touch $@

$(READY): $(LOCKED) pyproject.toml
	$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@
