# Two commands for a fresh machine: make demo, make test. Both make the virtual environment they need.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
THREADS ?= 2
export MPLBACKEND := Agg
# Containers often set it. The checks start hundreds of processes, and what is not kept is compiled by each of them: two of the
# three seconds that torch takes to import.
export PYTHONDONTWRITEBYTECODE :=

COMMA := ,

MUTATIONS ?= 10000
RECORDS ?= 2000
BOARD ?= build/board
SECONDS ?= 600
SEED ?= $(shell date +%s)

.PHONY: demo test lint types check docs bench gpu bench-board fuzz peers conformance vectors metric explainer task kind apt stamps registry typed clean

# torch and torchvision come from one index in one step, so that their builds match. A module is compiled when it is first
# imported, which most of what is installed never is: to compile all takes three quarters of a minute.
define install
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile -e '.[$(1)]'
endef

$(VENV)/.demo: pyproject.toml
	$(call install,demo)
	touch $@

$(VENV)/.all: pyproject.toml
	$(call install,demo$(COMMA)test$(COMMA)docs$(COMMA)peers)
	touch $(VENV)/.demo $@

# Two tasks of real photos in a few minutes; killed at any moment, the same command goes on where it stopped.
DEMO = --batch-size 16 --threads $(THREADS) --device cpu
demo: $(VENV)/.demo
	$(BIN)/vxp run photos --out demo-out/photos $(DEMO) \
	  --explainer grad-cam --explainer saliency --explainer input-x-gradient \
	  --metrics 'deletion|steps:7,insertion|steps:7,srg|steps:7,average-drop|keep:50,increase-in-confidence|keep:50,average-gain|keep:50,road-morf,road-lerf,random-logit,max-sensitivity|samples:2,entropy,gini'
	$(BIN)/vxp run mosaic-photos --out demo-out/mosaic-photos $(DEMO) \
	  --explainer grad-cam --explainer saliency --explainer input-x-gradient
	@echo
	@echo "Open the reports: demo-out/photos/report.html and demo-out/mosaic-photos/report.html"

test: $(VENV)/.all apt
	$(MAKE) check

# What CI runs, once everything is installed.
check:
	$(MAKE) -j $(THREADS) types docs lint stamps
	# the comparison with public libraries and the cluster must run here, not be skipped; a file's tests share what they make,
	# and tests/conftest.py says which files begin; every worker has a core, so BLAS starts no second thread, and one that waits sleeps where a
	# test asks for two: as it spins it holds the core of the other worker
	VXP_PEERS=required VXP_RAY=required OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q \
	  -n $(THREADS) --dist loadfile --no-loadscope-reorder --durations=15 tests

stamps:
	$(BIN)/vxp data get stamps

lint:
	$(BIN)/ruff check .

types:
	$(BIN)/mypy

docs:
	$(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/.demo
	$(BIN)/vxp bench

# On a machine with a GPU: its tests, then figures at every precision, which go into docs/figures.md: make gpu SECONDS=600
gpu: $(VENV)/.all
	$(BIN)/python docs/_gpu.py $(SECONDS)

# A board of many records, from nothing, with nothing new and with one more: seconds, memory, and the largest page:
# make bench-board RECORDS=2000
bench-board: $(VENV)/.all
	$(BIN)/python tests/big_board.py $(RECORDS) $(BOARD)

# Bundles, tars and records changed at random against the checking process: no traceback, no hang, bounded memory, and no
# changed byte that passes. The seed makes the same changes again: make fuzz SEED=1.
fuzz: $(VENV)/.all
	@echo "$(MUTATIONS) mutations, seed $(SEED)"
	VXP_MUTATIONS=$(MUTATIONS) VXP_SEED=$(SEED) $(BIN)/python -m pytest -q tests/test_mutations.py

# The public libraries: where they agree, where they do not, and what they cost on the same model and images.
peers: $(VENV)/.all apt
	VXP_PEERS=required $(BIN)/python -m pytest -q tests/peers
	$(BIN)/vxp bench --peers

# Both implementations through the vectors; then the vectors made again from the oracles.
conformance: $(VENV)/.all
	$(BIN)/vxp conformance
	cd tests && ../$(BIN)/vxp conformance -- ../$(BIN)/python -m oracles

vectors: $(VENV)/.all
	cd tests && ../$(BIN)/python -m oracles.make_vectors

# Everything that follows from a metric's declaration, its oracle and its page: make metric METRIC=deletion
metric:
	$(BIN)/python -m vxp.maintain.registry metrics
	cd tests && $(abspath $(BIN))/python -m oracles.make_vectors --metrics $(METRIC)
	$(BIN)/python docs/_generate.py

# Everything that lists explainers, from their declarations
explainer:
	$(BIN)/python -m vxp.maintain.listing
	$(BIN)/python docs/_generate.py

# The documents of data sets from their declarations, the task's items and its sealed card, and the pages: make task TASK=shapes
task:
	$(BIN)/python -m vxp.maintain.registry datasets
	$(BIN)/python -m vxp.maintain.freeze $(TASK)
	$(BIN)/python docs/_generate.py

# What follows from the schemas and the kinds of explanation
kind:
	$(BIN)/python -m vxp.maintain.types
	$(BIN)/python -m vxp.maintain.registry metrics
	$(BIN)/python docs/_generate.py

registry: $(VENV)/.all
	$(BIN)/python -m vxp.maintain.registry

# Documents as types, from the schemas; `make types` checks types
typed: $(VENV)/.all
	$(BIN)/python -m vxp.maintain.types

# Debian packages of the checks: a browser for the report, and what OpenCV of the public libraries needs. As root they are
# installed, otherwise said.
apt:
	@{ command -v chromium && command -v bwrap && /sbin/ldconfig -p | grep -q 'libGL\.so\.1'; } >/dev/null || { \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium libgl1 bubblewrap >/dev/null; \
	  else echo "the checks need chromium, libgl1 and bubblewrap: sudo apt-get install chromium libgl1 bubblewrap"; exit 1; fi; }
	@if [ "$$(id -u)" = 0 ] && ! ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1; then apt-get update -qq; fi

clean:
	rm -rf $(VENV) build dist site demo-out .pytest_cache .mypy_cache .ruff_cache .hypothesis
