# `make demo` and `make test` create the environment they need. PYTHON= selects an interpreter, 3.11 to 3.13.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help demo test test-fast test-litert test-emulated lint format reference docs wheel-check bench bench-spine bench-compiler bench-compiler-litert bench-engines bench-agent bench-first-success fuzz clean
.DEFAULT_GOAL := help

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 24

demo: $(VENV)/.demo  ## Train, compile, sign, serve and measure a small network on this machine
	$(BIN)/python host/examples/digits/demo.py

# Agents and brokers mostly wait for each other, so two files run in parallel without slowing each other down.
JOBS ?= 2
test: $(VENV)/.dev  ## Run every test; JOBS= test files in parallel
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile

test-fast: $(VENV)/.dev  ## Run the unit, contract and property tests that take less than a few seconds
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile -m 'not slow and not mosquitto' tests/unit tests/contract tests/property

test-litert: $(VENV)/litert/.dev  ## Run the tests that convert to LiteRT, in a separate environment (2 GB)
	$(VENV)/litert/bin/python -m pytest -p no:anyio --timeout 600 tests/unit/host/export/test_litert_conversion.py tests/integration/compiler/test_compile_litert.py tests/integration/compiler/test_litert_architectures.py

test-emulated: $(VENV)/.dev  ## Run the engines and the agent on an emulated Raspberry Pi 4 (needs Debian or Ubuntu)
	PYTHON=$(BIN)/python deploy/emulator/prepare $(VENV)/emulator 3.11
	DRUPELET_EMULATOR=$(VENV)/emulator $(BIN)/python -m pytest tests/emulated

.PHONY: mutants
mutants: $(VENV)/.mutants  ## Change one expression at a time and count what the tests notice; JSON; ARGS="--only planning --sample 200 --seed 1"
	PYTHONPATH=tests $(BIN)/python -m mutation $(ARGS)

.PHONY: emulator
RESUME ?=
emulator: $(VENV)/.dev  ## Test the agent on an emulated machine with systemd, faults included (root; 30 minutes); RESUME=--resume continues
	PYTHONPATH=tests $(BIN)/python -m emulated.machine --machine $(VENV)/emulator/machine $(RESUME)

lint: $(VENV)/.dev  ## Run ruff, mypy and import-linter
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

reference: $(VENV)/.dev  ## Generate reference pages, JSON Schemas and man pages from the code
	PYTHONPATH=shared/docs $(BIN)/python -m docs_generator

docs: $(VENV)/.dev  ## Build the documentation as a site: site/index.html
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet --nitpicky shared/docs site

.PHONY: pictures
pictures: $(VENV)/.dev  ## Draw the documentation's pictures from the results; ARGS=--record runs the demo again and records it
	PYTHONPATH=tests $(BIN)/python -m benchmarks.pictures $(ARGS)

wheel-check: $(VENV)/.dev  ## Build sdist and wheel; run the agent from the wheel in a fresh environment
	$(BIN)/python .ci/check_wheel.py

# The emulated Pi needs Debian or Ubuntu. Measure on an idle machine. ARGS="--only engines" selects parts: see --help.
bench: $(VENV)/.bench $(VENV)/litert/.dev  ## Run every benchmark beside other tools and write the comparison page; takes hours, resumable
	PYTHONPATH=tests $(BIN)/python -m benchmarks.comparison --data $(DATA) $(ARGS)

bench-spine: $(VENV)/.dev  ## Measure the whole path from compile to answer; JSON on standard output
	PYTHONPATH=tests $(BIN)/python -m benchmarks.bench_spine

DATA ?= ../shared/data/fashion-mnist
bench-compiler: $(VENV)/.bench  ## Compile ResNet18 beside other methods; DATA= folder of IDX files, ARGS= options; resumable
	PYTHONPATH=tests $(BIN)/python -m benchmarks.compiler --data $(DATA) --ncnn $(ARGS)

bench-compiler-litert: $(VENV)/litert/.dev  ## Add LiteRT rows to the results of bench-compiler, without training again; ARGS= options
	PYTHONPATH=tests $(VENV)/litert/bin/python -m benchmarks.compiler --data $(DATA) --rows a --ncnn --litert $(ARGS)

bench-engines: $(VENV)/.dev $(VENV)/litert/.dev  ## Time ResNet18 and MobileNetV2 in ONNX Runtime, LiteRT, ncnn and MNN; JSON; resumable
	PYTHONPATH=tests $(BIN)/python -m benchmarks.engines times $(ARGS)

bench-agent: $(VENV)/.dev  ## Measure the agent beside other servers, with a 30-minute soak test under faults; JSON; resumable
	PYTHONPATH=tests $(BIN)/python -m benchmarks.agent

bench-first-success: $(VENV)/.dev  ## Measure the time from a clone to the first answer; downloads an environment; JSON
	PYTHONPATH=tests $(BIN)/python -m benchmarks.first_success

.PHONY: bench-scale-compile
bench-scale: bench-scale-compile bench-scale-fleet
bench-scale-compile: $(VENV)/.dev  ## Time a compile in one process, two, on Ray, and under kills of workers; JSON; ARGS="--kills 20"
	PYTHONPATH=tests $(BIN)/python -m benchmarks.scale.compile $(ARGS)

bench-latency-model: DATA = ../shared/data/pi4
.PHONY: bench-latency-model bench-latency-model-litert latency-table
bench-latency-model: $(VENV)/.dev  ## Compare the timing model with published Raspberry Pi 4 times; DATA= folder; resumable
	PYTHON=$(BIN)/python deploy/emulator/prepare $(VENV)/emulator 3.11
	PYTHONPATH=tests $(BIN)/python -m benchmarks.latency_model published --data $(DATA) $(ARGS)

bench-latency-model-litert: $(VENV)/.dev  ## Compare it with published LiteRT times, whose threads are not known; DATA= folder; resumable
	PYTHON=$(BIN)/python deploy/emulator/prepare $(VENV)/emulator 3.11
	PYTHONPATH=tests $(BIN)/python -m benchmarks.latency_model published-litert --data $(DATA) $(ARGS)

latency-table: $(VENV)/.dev  ## Make the Raspberry Pi 4's latency table again with the timing model; an hour; resumable
	PYTHON=$(BIN)/python deploy/emulator/prepare $(VENV)/emulator 3.11
	PYTHONPATH=tests $(BIN)/python -m benchmarks.latency_model table $(ARGS)

DEVICES ?= 1000
.PHONY: bench-scale-fleet
bench-scale-fleet: $(VENV)/.dev  ## Measure the views and a roll-out over simulated devices, and a pool under kills; JSON; DEVICES=10000
	PYTHONPATH=tests $(BIN)/python -m benchmarks.fleet --devices $(DEVICES) $(FLEET_ARGS)

.PHONY: bench-target
bench-target: $(VENV)/.dev  ## Compare the search by latency with that by multiply-accumulates, and boards in the loop; JSON; resumable
	PYTHONPATH=tests $(BIN)/python -m benchmarks.target $(ARGS)

fuzz: $(VENV)/.dev  ## Fuzz every parser of untrusted bytes with a million inputs each
	PYTHONPATH=tests $(BIN)/python -m fuzz

clean:  ## Remove everything that was built
	rm -rf $(VENV) dist site .demo .bench .fuzz .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info < (3, 14); sys.exit(None if ok else "drupelet needs Python 3.11 to 3.13; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

# Dependency groups need pip 25.1.
$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing the demo's environment into $(VENV) (torch is large; a minute or more)"
	$(PIP) install --upgrade 'pip>=25.1'
	$(PIP) install --constraint constraints.txt --editable '.[host,agent,demo,litert]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "installing the development tools into $(VENV)"
	$(PIP) install --constraint constraints.txt --editable '.[host,agent,demo,litert,ncnn-convert]' --group test --group lint --group docs --group build
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(PIP) install --constraint constraints.txt --group bench
	@touch $@

$(VENV)/.mutants: $(VENV)/.dev
	$(PIP) install --constraint constraints.txt --group mutants
	@touch $@

# The converter requires typing_extensions below 4.13, which conflicts with the pinned pydantic: it gets its own environment.
$(VENV)/litert/.dev: pyproject.toml constraints.txt constraints-litert.txt | $(VENV)/bin/python
	@echo "installing LiteRT's converter into $(VENV)/litert (2 GB; two minutes or more)"
	$(BIN)/python -m venv $(VENV)/litert
	$(VENV)/litert/bin/python -m pip --quiet install --upgrade 'pip>=25.1'
	$(VENV)/litert/bin/python -m pip --quiet install --constraint constraints-litert.txt --editable '.[host,agent,litert-convert]' --group test-litert
	@touch $@
