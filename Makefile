# Two commands do everything on a fresh machine: `make run` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= $(shell tools/find_python.sh)
CODE := gateway simulation tinymodels calibration firmware_esp32 bench tests tools
ARGS ?=

.PHONY: help run test check format soak bench firmware firmware-size wiring lock broker clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(STAMP) ## the main job on embedded defaults: three homes, one fault, alerts (ARGS="--seconds 60")
	@$(BIN)/wattwarden demo $(ARGS)

test: $(STAMP) broker ## all tests but the long ones, against a real mosquitto
	@$(BIN)/pytest -n 2 --dist loadfile $(ARGS)

check: $(STAMP) ## linter, formatter, types, layers, sizes, documentation, firmware compiles
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy $(CODE)
	@$(BIN)/lint-imports
	@$(BIN)/python -m tools.check_sizes $(CODE)
	@$(BIN)/python -m tools.check_docs
	@$(BIN)/python -m tools.compile_firmware

format: $(STAMP) ## let ruff lay out the code
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

soak: $(STAMP) broker ## the long tests: full replays under kill -9 (tens of minutes)
	@$(BIN)/pytest -m soak --timeout 3600 $(ARGS)

bench: $(STAMP) broker ## all benchmarks; rewrites the table in docs/performance.md
	@$(BIN)/python -m bench $(ARGS)

firmware: $(STAMP) ## link and compile the meter's firmware into build/firmware
	@$(BIN)/python -m tools.link_firmware

firmware-size: $(STAMP) ## what the meter's firmware takes of flash and RAM, against its budget
	@$(BIN)/python -m tools.firmware_size

wiring: $(STAMP) ## redraw the schematics of docs/wiring.md
	@$(BIN)/python -m tools.draw_wiring

lock: ## find the newest versions pyproject.toml allows and write constraints.txt
	@tools/lock.sh "$(PYTHON)"

clean: ## remove the virtual environment, caches and builds
	@rm -rf $(VENV) .venv-lock build dist .mypy_cache .pytest_cache .ruff_cache \
	  .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is newer than what it was installed from, or the installation is repeated.
$(STAMP): pyproject.toml constraints.txt tools/make_venv.sh
	@tools/make_venv.sh "$(PYTHON)" "$(VENV)"
	@touch $@

broker:
	@tools/need_mosquitto.sh
