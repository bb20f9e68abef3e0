# Verbs of the project; `make` alone lists them. Needs Python 3.11 or newer, a C compiler and make.

PYTHON     ?= python3
VENV       ?= .venv
BIN        := $(VENV)/bin
SEEDS      ?= 1000
JOBS       ?= 1
KILLS      ?= 20
MINUTES    ?= 5
HZ         ?= 10
KAFKA      ?= kafka
SECONDS    ?= 60
TEST_JOBS  ?= auto
KAFKA_JOBS ?= 0
EXAMPLES   ?= 300
EXTRAS := learn,train,tune,kafka,formats,bridge,analysis,objects,odometry,rerun,serve,graphs,lightning,test,lint,bench
C_CODE := $(wildcard native/src/*.c native/src/*.h native/include/*.h)
C_TESTS := $(wildcard tests/native/c/*.[ch] tests/native/c/*/*.c tests/fuzz/*.[ch] tests/fuzz/targets/*.c)
NATIVE := $(C_CODE) native/octa.cdef.txt native/build_ffi.py setup.py
BENCH  := $(filter-out bench_kafka,$(sort $(notdir $(basename $(wildcard tests/bench/bench_*.py)))))

# Tests begin hundreds of processes: with bytecode kept, each begins seconds sooner.
unexport PYTHONDONTWRITEBYTECODE

.DELETE_ON_ERROR:
.PHONY: help setup demo up test test-long test-kafka up-test kill-test soak faults audit kafka simulate lint sanitize fuzz fuzz-decoders coverage bench bench-core bench-ids bench-swap bench-pace bench-kafka bench-serve bench-data test-browser fuzz-serve wheel constraints clean

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(VENV)/.native ## create .venv, install pinned versions, build the C core (the others do it too)

demo: setup ## replay a simulated city, learn on the way, write a report
	$(BIN)/octastream demo

up: setup ## all processes and three simulated robots on this machine, without containers, until Ctrl-C
	@$(BIN)/python -m deploy.up

test: setup ## the tests, but those of Kafka, of browsers and the long ones, with the recordings in OCTA_DATA (default ../shared/data)
	$(BIN)/python -m pytest -q -m 'not kafka and not browser and not long' --durations=20 -n $(TEST_JOBS) --dist loadfile

test-browser: setup ## the live page in Chromium, which must be installed
	$(BIN)/python -m pytest -q -m browser tests/web

fuzz-serve: setup ## requests drawn from the OpenAPI description: make fuzz-serve EXAMPLES=2000
	OCTA_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -q --timeout 0 tests/web/test_schema.py

test-long: setup ## what "make test" leaves out because it takes long and is shown elsewhere for the most part
	$(BIN)/python -m pytest -q -m 'long and not kafka and not browser' -n $(TEST_JOBS) --dist loadfile

test-kafka: setup ## tests on a Kafka broker: OCTA_KAFKA=HOST:PORT, Docker, or Java 17 and Maven
	$(BIN)/python -m pytest -q -m '$(KAFKA)' --durations=20 -n $(KAFKA_JOBS) --dist loadfile tests/kafka

up-test: setup ## what "make up" runs, for some minutes; then nothing may be missing: make up-test MINUTES=0.5 HZ=5
	@$(BIN)/python -m tests.kafka.fleet --minutes $(MINUTES) --hz $(HZ)

kill-test: setup ## workers killed again and again on a broker; nothing may be lost: make kill-test KILLS=200 LEARN=1
	$(BIN)/python -m tests.kafka.kill_test --kills $(KILLS) $(if $(filter-out 0,$(LEARN)),--learn)

soak: HZ = 2
soak: MINUTES = 60
soak: setup ## a fleet on a broker, mishaps at random; growth and waits plotted: make soak MINUTES=60 HZ=2
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) --hz $(HZ)

faults: setup ## what may go wrong, by number, and whether the tests of it pass: make faults ROWS='7 42'
	@$(BIN)/python -m tests.faults $(ROWS)

audit: setup ## pinned versions against known advisories (pip-audit, in an environment of its own); says why where nobody answers
	@$(BIN)/python -m tests.audit

kafka: setup ## a Kafka broker on 127.0.0.1:9092 in the foreground; needs Java 17 and Maven
	$(BIN)/python -m tests.kafka.broker

simulate: setup ## the agents on a simulated cluster with every fault: make simulate SEEDS=10000 JOBS=2
	$(BIN)/octastream simulate --seeds $(SEEDS) --jobs $(JOBS)

lint: setup ## formatting, style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(C_CODE) $(C_TESTS)

sanitize: setup ## the C core under the address and undefined-behaviour sanitizers: its C and its Python tests
	$(BIN)/python -m tests.native.sanitize

fuzz: setup ## foreign bytes for the C core, so long a target; needs clang: make fuzz SECONDS=600 TARGETS='window rays'
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(TARGETS)

fuzz-decoders: setup ## foreign bytes for the decoders in Python: make fuzz-decoders SECONDS=600 TARGETS='log-mcap agents'
	@$(BIN)/python -m pip install -q -c constraints.txt atheris || echo "atheris cannot be had here"
	$(BIN)/python -m tests.decoders --seconds $(SECONDS) $(TARGETS)

coverage: setup ## lines and branches of the C core that its C tests reach; fails below the floors
	$(BIN)/python -m tests.native.coverage

bench: setup ## run every benchmark; results go to tests/bench/results
	@for name in $(BENCH); do echo "== $$name"; $(BIN)/python -m tests.bench.$$name || exit 1; done

bench-core: setup ## the C core beside its peers (installs the extra "peers": about 1 GB)
	@$(BIN)/python -m pip install -q -c constraints.txt --no-build-isolation -e '.[peers]' || echo "peers that cannot be had here are listed with their reason"
	$(BIN)/python -m tests.bench.bench_core
	$(BIN)/python -m tests.bench.plot_core

bench-ids: setup ## cell ids beside the OctaIndex3D crate, which needs cargo
	$(BIN)/python -m tests.bench.bench_ids
	$(BIN)/python -m tests.bench.plot_ids

bench-swap: setup ## 500 models swapped in while sweeps stream: time of a swap, memory
	$(BIN)/python -m tests.bench.bench_swap
	$(BIN)/python -m tests.bench.plot_swap

bench-pace: setup ## learning with all steps, and at the pace of a live sensor: scores, milliseconds
	$(BIN)/python -m tests.bench.bench_pace

bench-kafka: setup ## from a producer to its prediction over a Kafka broker, beside an agent that only echoes
	$(BIN)/python -m tests.bench.bench_kafka
	$(BIN)/python -m tests.bench.plot_kafka

bench-serve: setup ## /predict for 256 cells beside an endpoint that does nothing: requests a second, p50, p99
	$(BIN)/python -m tests.bench.bench_serve
	$(BIN)/python -m tests.bench.plot_serve

bench-data: setup ## samples a second of the loader, beside a loop over items, a training step and the memory
	$(BIN)/python -m tests.bench.bench_data
	$(BIN)/python -m tests.bench.plot_data

wheel: setup ## dist/: sdist, and from it one wheel for every Linux with glibc 2.17 and Python from 3.11 on
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist/plain .
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m auditwheel repair --only-plat -w dist dist/plain/*.whl
	mv dist/plain/*.tar.gz dist && rm -r dist/plain

constraints: setup ## rewrite constraints.txt from what is installed
	@{ sed -n '/^#/p' constraints.txt; \
	   $(BIN)/python -m pip list --format=freeze --exclude-editable | grep -v '^pip==' \
	   | tr 'A-Z_' 'a-z-' | LC_ALL=C sort; } > $(VENV)/constraints.new
	@mv $(VENV)/constraints.new constraints.txt

clean: ## remove what was built; the environment and runs/ stay
	rm -rf build dist *.egg-info native/_octa.c native/_octa*.so $(VENV)/.native
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find native stream models agents tests examples -name __pycache__ -prune -exec rm -rf {} +

# ---- set-up: one stamp for the environment, one for the C core ----

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "octastream needs Python 3.11 or newer; name one: make setup PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# uv installs in a fraction of pip's time; where it cannot be had, pip does the same.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@uv=$$(command -v uv || true); \
	if [ -z "$$uv" ] && $(BIN)/python -m pip install -q -c constraints.txt uv; then uv=$(BIN)/uv; fi; \
	install() { \
	  if [ -n "$$uv" ] && "$$uv" pip install --python $(BIN)/python -c constraints.txt "$$@"; then return 0; fi; \
	  $(BIN)/python -m pip install -c constraints.txt "$$@"; \
	}; \
	echo "installing octastream[$(EXTRAS)] into $(VENV)"; \
	install setuptools cffi && install --no-build-isolation -e '.[$(EXTRAS)]'
	@touch $(VENV)/.native $@

# The editable install has built the C core already; only sources newer than its stamp build it again.
$(VENV)/.native: $(NATIVE) | $(VENV)/.installed
	@if [ ! -f $@ ] || [ -n "$$(find $(NATIVE) -newer $@)" ]; then \
	  echo "building the C core"; \
	  $(BIN)/python setup.py -q build_ext --inplace --force && touch $@; \
	fi
