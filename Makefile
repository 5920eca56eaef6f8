# Everything a learner or a maintainer types. `make help` lists it.
# Works with GNU make 3.81, the one macOS has.

# The Python to build the environment from: the first suitable one, or `make PYTHON=python3.12 ...`
PYTHON ?= $(shell command -v python3 || command -v python)
# Which PyTorch: auto, cpu (small, no graphics card), pypi (the ordinary build), or cu130 and the like
TORCH ?= auto
# Test processes side by side. Each uses one thread.
JOBS ?= 2
# Further arguments: make test ARGS="-k freezing", make lab ARGS="--no-browser --port 8890"
ARGS ?=
# For whom the offline kit is made: make offline-kit PLATFORM="windows macos" PYTHONS="3.12 3.13"
PLATFORM ?=
PYTHONS ?=

BIN := .venv/bin/python
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts/python.exe
endif
ASKED := $(if $(filter command environment,$(firstword $(origin PYTHON))),--python "$(PYTHON)")

# What single targets need on top of `env`, installed when something of it is missing: without a network they work again
# once they have worked.
have = $(BIN) scripts/need_extra.py $(1) || $(BIN) -m pip install --quiet --disable-pip-version-check -e ".[$(1)]"
need = @$(call have,$(1))

.DEFAULT_GOAL := help
.PHONY: help env lab test test-browser notebooks data results bench lint clean
.PHONY: colab-check oldest-check offline-kit blank slides site site-check

help:
	@echo "make lab         install everything into .venv/ and open JupyterLab at lesson 00"
	@echo "make test        install everything into .venv/ and run the whole test suite"
	@echo "make test-browser  open every lesson in JupyterLab and a real Chromium or Chrome, run it, move its explorers, answer"
	@echo "                 its quiz; pictures for you to look at in build/browser/ (ARGS=\"-k small\": the quick part)"
	@echo "make env         only install; add TORCH=cpu for the small CPU-only PyTorch on Linux"
	@echo "make notebooks   build notebooks/ from lessons/  (ONLY=02: one lesson; TIMES=1: measure the times too;"
	@echo "                 PROSE=1: only text has changed, run nothing and keep the outputs)"
	@echo "make data        draw the bundled images again and train the bundled backbones again (hours)"
	@echo "make results     run what is missing in docs/measured/ and write docs/results.md (an hour for everything)"
	@echo "make bench       measure what the code costs, print each ratio with its target, write docs/results.md (20 minutes;"
	@echo "                 OTHERS=1: fastai and Lightning are installed and measured too; ARGS=\"--only loop\": a part)"
	@echo ""
	@echo "make offline-kit fill build/offline-kit/, a folder for a USB stick: a workshop without a network"
	@echo "                 (PLATFORM=\"windows macos linux\" PYTHONS=\"3.12 3.13\"; elsewhere: ARGS=\"--out FOLDER\")"
	@echo "make blank       code-along copies of the notebooks in build/blank/"
	@echo "make slides      slides of every lesson in build/slides/; they open without a network"
	@echo "make site        the executed lessons as a website in build/site/; it opens from disk"
	@echo "make site-check  look at every page and slide in headless Chromium"
	@echo "make colab-check run every notebook in an environment like Colab's, each opened alone"
	@echo "make oldest-check  the same with the oldest packages the course supports"
	@echo ""
	@echo "make lint        check the style of the code"
	@echo "make clean       remove .venv/ and what tools leave behind"

env:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and there is no python3 here: see README.md"; exit 1; }
	@"$(PYTHON)" scripts/setup_env.py $(ASKED) --torch "$(TORCH)"

lab: env
	$(BIN) -m jupyter lab --ServerApp.root_dir=. notebooks/00_start_here.ipynb $(ARGS)

# The mini profile needs no download. One thread for each process: two at a time fill two cores without a quarrel.
test: env
	TLHELPERS_PROFILE=mini OMP_NUM_THREADS=1 $(BIN) -m pytest -n $(JOBS) --dist loadscope \
		--nbval-lax --nbval-current-env --nbval-cell-timeout=300 $(ARGS)

# Without a browser, or where Playwright cannot be installed, every test is skipped with the reason. One kernel at a time
# computes, so it gets two threads.
test-browser: env
	@$(call have,browser) || echo "Playwright could not be installed: see the line above"
	OMP_NUM_THREADS=2 $(BIN) -m pytest tests/browser $(ARGS)

notebooks: env
	$(BIN) scripts/build_notebooks.py --only "$(ONLY)" $(if $(TIMES),--times) $(if $(PROSE),--prose)
	$(BIN) scripts/lesson_minutes.py

data: env
	$(BIN) data/build_images.py
	$(BIN) data/pretrain.py
	$(BIN) data/manifest.py

results: env
	$(BIN) scripts/measure_map.py
	$(BIN) scripts/measure_regularisation.py
	$(BIN) scripts/measure_project.py
	$(BIN) scripts/measure_leaderboard.py
	$(BIN) scripts/measure_recipes.py
	$(BIN) scripts/write_results.py
	$(BIN) scripts/measure_memory.py --write

# All cores, as for a learner. What it compares takes turns in one process, so leave the machine alone meanwhile.
bench: env
	$(if $(OTHERS),$(BIN) -m pip install --quiet --disable-pip-version-check -e ".[bench]")
	$(BIN) benchmarks/bench.py $(ARGS)

offline-kit: env
	$(BIN) scripts/offline_kit.py --platform "$(PLATFORM)" --pythons "$(PYTHONS)" --torch "$(TORCH)" $(ARGS)

blank: env
	$(BIN) scripts/build_blank.py $(ARGS)

slides: env
	$(call need,site)
	$(BIN) scripts/build_slides.py $(ARGS)

site: env
	$(call need,site)
	$(BIN) scripts/build_site.py $(ARGS)

site-check: env
	$(call need,browser)
	$(BIN) scripts/check_site.py $(ARGS)

colab-check: env
	$(BIN) scripts/colab_check.py colab $(ARGS)

oldest-check: env
	$(BIN) scripts/colab_check.py oldest $(ARGS)

lint: env
	$(BIN) -m ruff check .
	$(BIN) -m ruff format --check --diff benchmarks scripts tests tlhelpers

clean:
	rm -rf .venv .pytest_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
