# Vision Platform. `make` alone lists what there is. Everything is installed inside this folder.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

PARTS := backend client oracles samples testing tracking trainer-timm trainer-ultralytics
CHECKED := backend client oracles samples testing trainer-timm trainer-ultralytics
TRAINERS := $(wildcard trainer-*)
environment = $(1:%=%/.venv/.ready)

unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

.PHONY: help demo run test test-slow soak lint fix types e2e bench clean setup sample sync-utils lock

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

## everyday

demo: $(call environment,backend client samples tracking $(TRAINERS)) ## train a detector and show what it learned (ONCE=1: and stop)
	@client/.venv/bin/python scripts/demo.py $(if $(ONCE),--once)

run: $(call environment,backend client tracking $(TRAINERS)) ## start the platform: backend, trainers, MLflow
	@client/.venv/bin/python scripts/run_platform.py

test: $(CHECKED:%=test-%) test-e2e test-chaos ## run every part's tests, the slow ones left out

test-slow: $(CHECKED:%=test-slow-%) test-slow-e2e test-slow-chaos ## run the tests that take longer

soak: $(call environment,backend samples testing trainer-ultralytics) ## kill everything at random, then compare (SECONDS=1800 SEED= JOBS=4)
	@env PYTHONPATH=.:tests SECONDS=$(or $(SECONDS),1800) SEED=$(SEED) JOBS=$(or $(JOBS),4) testing/.venv/bin/python -m chaos.soak

lint: lint-ruff lint-imports lint-utils ## check style, layers and copies; changes nothing

fix: $(call environment,backend) ## format, and mend what can be mended by itself
	@status=0; backend/.venv/bin/ruff check --fix . || status=$$?; backend/.venv/bin/ruff format .; exit $$status

types: $(CHECKED:%=types-%) ## check types, strictly

e2e: test-e2e test-slow-e2e ## train for real through a real backend, storage and launcher

bench: $(call environment,$(PARTS)) ## measure overhead, start and ingestion (ARGS="--quick")
	@testing/.venv/bin/python -m benchmarks $(ARGS)

clean: ## remove the environments and var/, after asking (YES=1: without)
	@scripts/clean $(if $(YES),--yes)

## set-up and upkeep

setup: $(call environment,$(PARTS)) ## set up every part's environment (TORCH_BACKEND=cpu: torch without CUDA)

sample: $(call environment,samples) ## write the sample dataset into var/storage/terminal, for train.py from a terminal
	@samples/.venv/bin/python -m digits --storage var/storage/terminal --dataset-id digits >/dev/null
	@echo "The dataset digits is in var/storage/terminal. Now try: trainer-ultralytics/README.md, From a terminal"

sync-utils: ## copy what trainers share from trainer-ultralytics to every other trainer
	@scripts/sync-utils

lock: .tools/python ## lock the dependencies of every part anew (ARGS="--upgrade")
	@scripts/lock $(ARGS)

## the parts of the targets above

.SECONDEXPANSION:
.PHONY: lint-ruff lint-imports lint-utils test-e2e test-slow-e2e test-chaos test-slow-chaos

test-%: $$(call environment,$$* testing)
	@echo "$*: tests" && cd $* && .venv/bin/python -m pytest -m 'not slow'

test-slow-%: $$(call environment,$$* testing)
	@echo "$*: slow tests" && cd $* && { .venv/bin/python -m pytest -m slow || [ $$? -eq 5 ]; }

test-client test-slow-client: $(call environment,backend samples tracking) # its tests start the real ones

test-slow-trainer-timm: $(call environment,samples) # which has scikit-learn's digits

test-oracles test-slow-oracles: $(call environment,backend trainer-ultralytics) # what they are compared with

test-e2e: $(call environment,$(PARTS))
	@echo "e2e: tests" && cd e2e && ../testing/.venv/bin/python -m pytest -m 'not slow'

test-slow-e2e: $(call environment,$(PARTS))
	@echo "e2e: slow tests" && cd e2e && ../testing/.venv/bin/python -m pytest -m slow

test-chaos: $(call environment,backend samples testing trainer-ultralytics)
	@echo "chaos: tests" && cd tests/chaos && ../../testing/.venv/bin/python -m pytest -m 'not slow'

test-slow-chaos: $(call environment,backend samples testing trainer-ultralytics)
	@echo "chaos: slow tests" && cd tests/chaos && ../../testing/.venv/bin/python -m pytest -m slow

types-%: $$(call environment,$$*)
	@echo "$*: types" && cd $* && .venv/bin/python -m mypy

lint-ruff: $(call environment,backend)
	@backend/.venv/bin/ruff check --output-format concise . && backend/.venv/bin/ruff format --check .

lint-imports: $(call environment,backend)
	@echo "backend: layers" && cd backend && .venv/bin/lint-imports

lint-utils:
	@scripts/sync-utils --check

.tools/python: scripts/bootstrap-uv scripts/uv-requirements.txt
	@scripts/bootstrap-uv

define set_up_part
$(call environment,$(1)): .tools/python scripts/sync-environment $(wildcard $(1)/pyproject.toml $(1)/requirements*.lock $(1)/requirements*.txt)
	@scripts/sync-environment $(1)
	@touch $$@
endef
$(foreach part,$(PARTS),$(eval $(call set_up_part,$(part))))
