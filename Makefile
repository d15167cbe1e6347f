# selftrain. `make help` lists the targets.
#
# Every stage's one target is its manifest, the last file that a stage writes: make tracks time, the manifest
# tracks meaning. A stage that finds its manifest up to date only refreshes its time, so a bare `touch` costs one
# quick skip a stage, then silence. There is no .DELETE_ON_ERROR: a stage removes an outdated manifest before it
# starts and writes the new one at the very end, while a refused stage must leave the old one alone.

CONFIG    ?= configs/tiny.yaml
RUN       ?= runs/$(basename $(notdir $(CONFIG)))
SET       ?=
OVERWRITE ?=
PYTHON    ?= python3

VENV  := .venv
BIN   := $(VENV)/bin
READY := $(VENV)/.ready
SRT    = $(BIN)/srt
ARGS   = --run $(RUN) --config $(CONFIG) $(foreach s,$(SET),--set '$(s)') $(if $(OVERWRITE),--overwrite)

.DEFAULT_GOAL := help
.PHONY: help setup lock all status verify reproduce checkpoint data lint format test test-slow build clean FORCE

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'
	@echo
	@echo "  CONFIG=FILE    the experiment (now $(CONFIG))"
	@echo "  RUN=DIR        the run folder (now $(RUN))"
	@echo "  SET='a.b=c …'  overrides of single settings, separated by spaces"
	@echo "  OVERWRITE=1    replace results that were made with other settings"

setup: $(READY) ## Make .venv from the lock (CPU), or with CUDA packages where nvidia-smi answers

$(READY): requirements/cpu.txt requirements/torch-cpu.txt pyproject.toml requirements/setup.sh
	@PYTHON='$(PYTHON)' VENV='$(VENV)' bash requirements/setup.sh
	@touch $@

lock: ## Resolve the CPU lock anew (requirements/cpu.txt) from pyproject.toml and requirements/cpu.in
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install -q uv
	build/lock/bin/uv pip compile pyproject.toml requirements/cpu.in --extra train --extra dev \
	  --override requirements/cpu-overrides.txt --generate-hashes --python-version 3.11 --universal \
	  --no-header --upgrade -q -o requirements/cpu.txt

# A changed CONFIG or SET must reach the stages although no file changed: the stamp changes with them.
$(RUN)/.arguments: FORCE
	+@mkdir -p $(@D)
	+@echo '$(CONFIG) $(SET)' | cmp -s - $@ || echo '$(CONFIG) $(SET)' > $@

$(RUN)/samples.json: $(CONFIG) $(RUN)/.arguments | $(READY)
	$(SRT) generate $(ARGS)
$(RUN)/labels.json: $(RUN)/samples.json
	$(SRT) label $(ARGS)
$(RUN)/curriculum.json: $(RUN)/labels.json
	$(SRT) curate $(ARGS)
$(RUN)/policy.json: $(RUN)/curriculum.json
	$(SRT) train $(ARGS)
$(RUN)/evals.json: $(RUN)/policy.json
	$(SRT) eval $(ARGS)

all: $(RUN)/evals.json ## generate -> label -> curate -> train -> eval, then one table
	@$(SRT) status --run $(RUN)

status: | $(READY) ## The table of a run
	@$(SRT) status --run $(RUN)

verify: | $(READY) ## Check every file of a run against its manifests
	@$(SRT) verify --run $(RUN)

REPRODUCE_CONFIG ?= configs/reproduce.yaml
reproduce: | $(READY) ## Run a small chain twice into fresh folders and compare all contents
	@rm -rf runs/reproduce-a runs/reproduce-b
	@$(MAKE) --no-print-directory all CONFIG=$(REPRODUCE_CONFIG) RUN=runs/reproduce-a
	@$(MAKE) --no-print-directory all CONFIG=$(REPRODUCE_CONFIG) RUN=runs/reproduce-b
	@$(SRT) verify --run runs/reproduce-a --same-as runs/reproduce-b

SEED ?= 0
checkpoint: | $(READY) ## Train the built-in checkpoint from scratch again (SEED=0 is the one that ships)
	OMP_NUM_THREADS=1 $(BIN)/python -m selftrain.data.pretrain --out data/checkpoint --seed $(SEED)

data: | $(READY) ## Write the built-in problems again from their seeded generator
	$(BIN)/python -m selftrain.data.world

lint: | $(READY) ## ruff (lint and format) and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: | $(READY) ## Let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint ## Lint, then the test suite (set-up included)
	$(BIN)/python -m pytest

test-slow: | $(READY) ## The tests that take minutes each
	$(BIN)/python -m pytest -m slow

build: | $(READY) ## Wheel and sdist into dist/
	$(BIN)/python -m build --no-isolation

clean: ## Remove the environment and build products, never runs/
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
