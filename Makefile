# make demo   sets everything up, then profiles, prunes and verifies on a small real data set
# make test   sets everything up, then runs the tests
# make check  format, lint, types, import contracts
# make bench  training steps and an epoch, beside the same written plainly (minutes; let it be alone)
# make artifacts        profiles and writes the ranks that ship with the package; hours
# make check-artifacts  recomputes what can be recomputed of them; UPSTREAM=prob_rank.npy adds the
#                       agreement with the authors' ranks
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test check bench artifacts check-artifacts setup clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "datacurate needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Name another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable ".[test]"
	@touch $@

demo: setup
	$(BIN)/datacurate demo

test: setup
	$(BIN)/python -m pytest --cov --cov-report=
	@$(BIN)/python -m tools.coverage

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

artifacts: setup
	$(BIN)/python -m tools.artifacts make digits
	$(BIN)/python -m tools.artifacts make cifar10-proxy $(if $(UPSTREAM),--upstream $(UPSTREAM))

check-artifacts: setup
	$(BIN)/python -m tools.artifacts check $(if $(UPSTREAM),--upstream $(UPSTREAM))

bench: setup
	$(BIN)/python -m tests.bench.bench_step
	$(BIN)/python -m tests.bench.bench_epoch

clean:
	rm -rf $(VENV) build dist *.egg-info
