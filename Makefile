# Two commands do everything on a fresh machine: `make run` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= $(shell tools/find_python.sh)
CODE := gateway provisioning cloud_sync functions simulation tinymodels calibration firmware_esp32 bench tests tools \
  wattwarden_client
ARGS ?=

WHEELHOUSE ?= build/wheelhouse
# Only what changes the system asks for root.
AS_ROOT = $(if $(DESTDIR),,$(if $(filter 0,$(shell id -u)),,sudo))
# What speaks to the daemon is of its version, where one is installed.
INSTALLED = $(firstword $(wildcard /opt/wattwarden/bin/wattwarden) $(BIN)/wattwarden)

.PHONY: install upgrade uninstall doctor wheelhouse
.PHONY: flash provision calibrate meters installer-demo
.PHONY: help run test check format soak bench firmware firmware-size wiring lock broker clean \
  cloud-rig typescript

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(STAMP) ## the main job on embedded defaults: three homes, one fault, alerts (ARGS="--seconds 60")
	@$(BIN)/wattwarden demo $(ARGS)

# In order of their names: tests/acceptance, whose files are the longest, is not left for the end.
test: $(STAMP) broker dashboard browser typescript ## all tests but the long ones, against a real mosquitto
	@$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder --reruns 1 --rerun-show-tracebacks $(ARGS)

check: $(STAMP) ## linter, formatter, types, layers, sizes, documentation, firmware compiles
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy $(CODE)
	@$(BIN)/mypy functions/main.py
	@$(BIN)/lint-imports
	@$(BIN)/python -m tools.check_sizes $(CODE)
	@$(BIN)/python -m tools.check_docs
	@$(BIN)/python -m tools.compile_firmware
	@tools/build_dashboard.sh --check

format: $(STAMP) ## let ruff lay out the code
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

soak: $(STAMP) broker ## the matrix of faults and all long tests (ARGS="--budget 30 --seed 7")
	@$(BIN)/python -m tools.soak $(ARGS)

.PHONY: ha-test
ha-test: $(STAMP) broker ## Home Assistant core itself, in .venv-ha, finds the meters
	@tools/make_ha_venv.sh "$(PYTHON)" .venv-ha
	@$(BIN)/pytest tests/acceptance/test_homeassistant.py $(ARGS)

bench: $(STAMP) broker ## all benchmarks; rewrites the table in docs/performance.md
	@$(BIN)/python -m bench $(ARGS)

firmware: $(STAMP) ## link and compile the meter's firmware into build/firmware
	@$(BIN)/python -m tools.link_firmware

firmware-size: $(STAMP) ## what the meter's firmware takes of flash and RAM, against its budget
	@$(BIN)/python -m tools.firmware_size

flash: $(STAMP) ## MicroPython and firmware onto a board on USB (PORT=, IMAGE=, ARGS="--yes")
	@$(BIN)/wattwarden meters flash $(if $(PORT),--port $(PORT)) $(if $(IMAGE),--image $(IMAGE)) $(ARGS)

provision: $(STAMP) ## make the board on USB the meter METER= of this site (PORT=, ARGS="--channels grid,solar")
	@$(AS_ROOT) $(INSTALLED) meters provision $(METER) $(if $(PORT),--port $(PORT)) $(ARGS)

meters: $(STAMP) ## list the meters with their newest readings
	@$(AS_ROOT) $(INSTALLED) meters list $(ARGS)

calibrate: $(STAMP) ## calibrate the meter METER= against a reference instrument (ARGS="--class 1")
	@$(AS_ROOT) $(INSTALLED) meters calibrate $(METER) $(ARGS)

installer-demo: $(STAMP) broker ## flash, provision and calibrate a simulated board, with the real tools
	@$(BIN)/python -m tools.installer_demo

.PHONY: loop-demo
loop-demo: $(STAMP) broker ## train, judge, sign, publish, pull, shadow, activate, meters: the loop in 3 minutes
	@$(BIN)/python -m tools.loop_demo

wiring: $(STAMP) ## redraw the schematics of docs/wiring.md
	@$(BIN)/python -m tools.draw_wiring

wheelhouse: ## the program and all it needs as wheels in build/wheelhouse: installs without a network
	@tools/make_wheelhouse.sh "$(PYTHON)" $(WHEELHOUSE)

install: ## install on this machine (Debian 12, Raspberry Pi OS), or below DESTDIR (ARGS="--yes")
	@WHEEL_ONLY=1 tools/make_wheelhouse.sh "$(PYTHON)" $(WHEELHOUSE)
	@$(AS_ROOT) env DESTDIR="$(DESTDIR)" $(WHEELHOUSE)/install.sh $(ARGS)

upgrade: ## put this checkout's version in the installed one's place; it goes back if it fails
	@WHEEL_ONLY=1 tools/make_wheelhouse.sh "$(PYTHON)" $(WHEELHOUSE)
	@$(AS_ROOT) env DESTDIR="$(DESTDIR)" $(DESTDIR)/opt/wattwarden/bin/python -P -m gateway.cli upgrade \
	  --wheel $(WHEELHOUSE)/wattwarden-*.whl $(ARGS)

uninstall: ## remove the installed gateway; readings stay (ARGS=--purge: they go too)
	@$(AS_ROOT) env DESTDIR="$(DESTDIR)" $(DESTDIR)/opt/wattwarden/bin/python -P -m gateway.cli uninstall $(ARGS)

doctor: $(STAMP) ## is the installed gateway well, and if not, who must do what
	@$(AS_ROOT) $(INSTALLED) doctor $(ARGS)

cloud-rig: $(STAMP) ## Firestore, Storage, messaging and Auth on loopback, for trying the cloud out
	@$(BIN)/python -m tests.support.cloud_rig $(ARGS)

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

.PHONY: dashboard browser
dashboard: ## build the app that people see into dashboard/dist (needs Node.js 20)
	@tools/build_dashboard.sh

browser:
	@tools/need_chromium.sh

broker:
	@tools/need_mosquitto.sh

# The decoder of packed documents is compiled and tested where node is installed.
TYPESCRIPT := cloud_sync/typescript
typescript:
	@if command -v npm > /dev/null && \
	  [ ! $(TYPESCRIPT)/node_modules/.package-lock.json -nt $(TYPESCRIPT)/package-lock.json ]; then \
	  npm ci --silent --no-audit --no-fund --prefix $(TYPESCRIPT) || \
	  echo "npm could not install $(TYPESCRIPT)'s compiler: its test is skipped" >&2; fi
