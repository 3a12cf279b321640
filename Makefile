# Two commands do all the set-up on a machine that has only Python:
#   make scan    install, and scan a video that our own code draws
#   make test    install, and run the whole suite
# make bench measures guardian beside its rivals, for about half an hour on a machine left alone.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One more than two cores: a quarter of the suite's time is spent waiting for servers.
JOBS ?= 3
# Hundreds of processes start here, and without it each of them compiles guardian's modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: scan test quick lint hub bench clean

scan: $(VENV)/.installed
	$(BIN)/python examples/draw_video.py build/example.mp4
	@echo '$$ guardian scan build/example.mp4'
	@$(BIN)/guardian scan build/example.mp4 || echo "(ended with $$?: 10 is review, 11 block, 3 could not be scanned)"

test: $(VENV)/.installed-test lint
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

# Hardly anything waits here.
quick: JOBS = 2
quick: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m "not slow and not hub"

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

hub: $(VENV)/.installed-test
	GUARDIAN_HUB=1 $(BIN)/python -m pytest -m hub tests/hub

BENCHMARKS := scan_cold scan_long scan_folder model_alone decoding_alone memory categories replay

bench: $(VENV)/.installed-test
	for one in $(BENCHMARKS); do $(BIN)/python benchmarks/$$one.py --json build/measured/$$one.json || exit 1; done
	$(BIN)/python benchmarks/plot.py build/measured docs/speed.svg

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo 'installing guardian and its libraries into $(VENV): several GB, some minutes'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	@echo 'installing guardian, its libraries and test tools into $(VENV): several GB, some minutes'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[nudenet,test]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
