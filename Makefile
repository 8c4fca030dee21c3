# The front door. What is done, and in which environment, stands in noxfile.py.
PYTHON ?= python3
NOX = .venv/bin/nox --session

.DEFAULT_GOAL := help
.PHONY: help demo test check docs bench build clean

help:   ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

demo: .venv/made   ## classify real photographs in PyTorch and in MXNet, and make a picture of it
	@$(NOX) demo

test: .venv/made   ## run the tests in four environments: core alone, PyTorch, MXNet, both
	@$(NOX) core pytorch mxnet both

check: .venv/made   ## lint and format, types, import contracts, documentation
	@$(NOX) lint types layers docs

docs: .venv/made   ## build the documentation into site/
	@$(NOX) docs

bench: .venv/made   ## measure start-up, the catalogue, loading and downloads
	@$(NOX) bench

build: .venv/made   ## build wheels and source archives into dist/
	@$(NOX) build

clean:   ## remove everything that was made here
	rm -rf .venv .nox .cache .*_cache build dist site

.venv/made: constraints/common.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	    { echo "error: development needs Python 3.11 (MXNet runs on no later one): make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv
	@.venv/bin/python -m pip install -qq --constraint constraints/common.txt nox
	@touch $@
