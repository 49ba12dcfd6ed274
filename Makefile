# make demo      the embedded EM phantom, from nothing to a scored segmentation and a report
# make demo-mri  the embedded head phantom, from nothing to scored class maps and a report
# make test      all tests; with SEPVOX_DATA set also those on real data
# make lint      style, types, import rules, workflow
# make resume    go on after a kill or a power cut (CONFIG=configs/fib25.yaml for another experiment)
# make lock      pin the dependencies again
# make clean     remove what the demos and the tools made
#
# Each sets up .venv where it is missing or out of date. PYTHON=python3.12 and CORES=4 may be given.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
CONFIG ?= configs/demo.yaml
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo demo-mri test lint resume lock clean

demo: $(INSTALLED)
	$(BIN)/snakemake --cores $(CORES) --configfile configs/demo.yaml
	@echo "make demo: open results/demo/report/index.html"

demo-mri: $(INSTALLED)
	$(BIN)/snakemake --cores $(CORES) --configfile configs/demo-mri.yaml
	@echo "make demo-mri: open results/demo-mri/report/index.html"

test: $(INSTALLED)
	$(BIN)/pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow
	PATH="$(CURDIR)/$(BIN):$$PATH" workflow/lint
	for config in $$(grep -LE '^ *(image|images|table|weights):|[{,] *(image|images|table|weights):' configs/*.yaml); do \
		$(BIN)/snakemake --dry-run --quiet --cores 1 --configfile "$$config"; \
	done

resume: $(INSTALLED)
	$(BIN)/snakemake --unlock --cores 1 --configfile "$(CONFIG)"
	$(BIN)/snakemake --cores $(CORES) --configfile "$(CONFIG)"

# The packages of CUDA come with torch where they are wanted; pinned here they would be installed everywhere.
lock: $(INSTALLED)
	$(BIN)/python -m pip install uv
	$(BIN)/uv pip compile --universal pyproject.toml --extra dev --extra remote --python-version 3.11 \
		--no-annotate --no-header --upgrade --quiet --output-file .venv/requirements.lock
	grep -vE '^(cuda-|nvidia-|triton)' .venv/requirements.lock > requirements.lock

clean:
	rm -rf results/demo results/demo-mri build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v < (3, 14) or sys.exit(f"error: $(PYTHON) is Python {v[0]}.{v[1]}, sepvox needs 3.11 to 3.13; give one, as in: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --editable .
	touch $@
