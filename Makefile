# `make` or `make help` lists the targets. Each makes .venv first where needed.
SHELL := bash
VENV := .venv
READY := $(VENV)/.ready
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup video browser demo pipeline test kernels docs check format ui lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  ARGS=\"...\"    goes to the command, e.g. make pipeline ARGS=\"-P preset=quick\", make test ARGS=\"-k params\""

setup: $(READY) ## Make .venv with the locked versions; nothing to do when it is up to date

$(READY): requirements.lock pyproject.toml tools/conda_standin.py
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit("Python 3.11, 3.12 or 3.13 is needed, $(PYTHON) is %d.%d: make setup PYTHON=/path/to/python3.13" % v)'
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check --quiet -r requirements.lock
	$(VENV)/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@$(RUN) $(VENV)/bin/python tools/conda_standin.py install-standin
	@touch $(READY)

video: setup ## Add what `extract` needs to .venv, and make MediaPipe's model files (Apache-2.0) in the cache folder
	$(VENV)/bin/python -m pip install --disable-pip-version-check --quiet --constraint requirements.lock --no-build-isolation --editable '.[video]'
	@$(RUN) python -m sign_models.video.models

browser: video ## Add what the tests of the page need: Playwright and MediaPipe for the browser; Chromium is the system's
	$(VENV)/bin/python -m pip install --disable-pip-version-check --quiet --constraint requirements.lock --no-build-isolation --editable '.[browser]'
	@$(RUN) python -m sign_models.video.browser

demo: video ## Translate the webcam or a video in the browser, with the champion: `mlflow run . -e demo` in .venv
	$(RUN) python -m sign_models.video.browser
	$(RUN) mlflow run . -e demo --env-manager local $(ARGS)

pipeline: setup ## Train every stage and translate: `mlflow run .` in .venv
	$(RUN) mlflow run . --env-manager local $(ARGS)

test: setup ## Run the tests
	$(RUN) python -m pytest -n auto --dist loadfile --no-loadscope-reorder --durations=10 $(ARGS)

kernels: setup ## Test the GPU's kernels on a CPU, in Triton's interpreter
	$(VENV)/bin/python -m pip install --disable-pip-version-check --quiet --constraint requirements.lock --no-build-isolation --editable '.[kernels]'
	$(RUN) TRITON_INTERPRET=1 python -m pytest -n auto tests/kernels $(ARGS)

docs: setup ## Build the site of docs/ in build/site, strictly
	$(VENV)/bin/python -m pip install --disable-pip-version-check --quiet --constraint requirements.lock --no-build-isolation --editable '.[docs]'
	$(RUN) NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

check: setup ## ruff, ruff format --check, mypy
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

format: setup ## Let ruff mend what it can
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

ui: setup ## Show runs and models in the browser
	$(RUN) python -m tools.ui $(ARGS)

lock: setup ## Write requirements.lock from what .venv holds now
	@{ sed -n '/^#/p' requirements.lock; \
	   $(VENV)/bin/python -m pip freeze --all --exclude-editable --disable-pip-version-check \
	   | grep -v -i -E '^(pip|wheel|nvidia-|cuda-|triton)' | sed 's/+[a-z0-9]*$$//'; } > requirements.lock.new
	@mv requirements.lock.new requirements.lock

clean: ## Remove .venv and caches; runs and models stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
