# `make run` and `make test` set up what they need; `make help` lists the rest.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= $(shell for p in python3.11 python3.12 python3.10 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$p && break; done)
.DEFAULT_GOAL := help

.PHONY: help run test check setup data lock browser databases clean
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.10, 3.11 or 3.12 found; install one, or: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON) (once; a few minutes) …" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# --no-compile: Python compiles what is imported; compiling all of it takes half a minute more.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup: $(STAMP) ## create .venv and install, if the lock changed

data/raw/flights/flights.csv.gz: | $(STAMP)
	@$(BIN)/pipeline data flights

data: data/raw/flights/flights.csv.gz ## write the raw tables of the shipped job

run: $(STAMP) data/raw/flights/flights.csv.gz ## run the main job end to end
	@$(BIN)/pipeline run -c conf/flights.yaml

test: $(STAMP) browser databases ## run the tests
	@$(BIN)/python -m tests

check: $(STAMP) ## lint, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

# The report is tested in a real browser. Debian's package is installed where that is possible
# without asking; elsewhere the tests that need it say so.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null || { \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo "Installing Chromium for the tests of the report …" >&2; \
	(apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium) >/dev/null </dev/null \
	|| echo "Chromium could not be installed; its tests will be skipped." >&2; fi; }

# Likewise a PostgreSQL, which the tests start for themselves alone, and the drivers of databases.
DATABASES := postgresql libpostgresql-jdbc-java libxerial-sqlite-jdbc-java
databases:
	@test -d /usr/lib/postgresql -a -e /usr/share/java/postgresql.jar -a -e /usr/share/java/sqlite-jdbc.jar || { \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo "Installing PostgreSQL and drivers for the tests of databases …" >&2; \
	(apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(DATABASES)) >/dev/null </dev/null \
	|| echo "They could not be installed; their tests will be skipped." >&2; fi; }

bench-noop: $(STAMP) data/raw/flights/flights.csv.gz ## time a run with nothing to do
	@$(BIN)/python -m benchmarks.noop

bench-flights: $(STAMP) ## the champions on the held-out months, against the baseline and default models
	@$(BIN)/python -m benchmarks.flights

bench-ingest: $(STAMP) data/raw/flights/flights.csv.gz ## time ingest with all checks against a bare Spark job
	@$(BIN)/python -m benchmarks.ingest

bench-handoff: $(STAMP) ## time the hand-off against ray.data.from_spark, read_parquet and the limit
	@$(BIN)/python -m benchmarks.handoff

bench-train: $(STAMP) ## time many fits against joblib, a Ray task a fit, Spark's applyInPandas and the limit
	@$(BIN)/python -m benchmarks.train

# A round of it takes most of an hour on two cores: 10,800 fits, in each contestant.
ROUNDS := 1
bench-train-shared: $(STAMP) ## the same where candidates have much in common (an hour; ROUNDS=3 for more)
	@$(BIN)/python -m benchmarks.train --shared --rounds $(ROUNDS) --peer-rounds 1

bench-train-many: $(STAMP) ## time 100,000 segments
	@$(BIN)/python -m benchmarks.train_many

bench-halving: $(STAMP) ## what halving saves, and its regret
	@$(BIN)/python -m benchmarks.halving

# All extras but xgboost, which would bring half a gigabyte of GPU libraries with it.
lock: ## renew requirements.lock from pyproject.toml (needs uv)
	@uv pip compile --quiet --universal --python-version 3.10 --generate-hashes \
	--extra flights --extra lightgbm --extra mlflow --extra dev \
	--no-emit-index-url --no-header pyproject.toml -o requirements.lock

clean: ## remove the environment and the store
	@rm -rf $(VENV) data/store
