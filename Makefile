# Every target does its own set-up: an interpreter of 3.10 to 3.12 is all it needs.
#   make test    the test suite                make lint    style and format
#   make demo    synthetic log to verdict      make clean   all that make made
#   make venv    the install alone, in .venv   make help    these lines
#   make test-benchmarks   that each benchmark and study runs, on a few rows
#   make test-data   the main job on real data, where they are (STEADYRANK_DATA)
#   make test-install   the wheel, in an environment of its own, without constraints
#   make test-engines   preprocessing on Flink and Spark of this machine; ARGS="--rows 20000"
#   make test-newest    the test suite on TensorFlow 2.21, in an environment of its own
#   make bench-peers   beside other libraries, in an environment of theirs; ARGS=--quick
#   make types   the type checker              make docs    the site, in build/site
#   make sbom    what is installed, as a bill of materials: build/sbom.json

VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
DEMO := runs/demo

NEWEST := .venv-newest
PEERS := .venv-peers
PEERS_NEED := benchmarks/peers-requirements.txt
DOCS := .venv-docs
TYPES := .venv-types
SBOM := .venv-sbom

.PHONY: help venv demo test test-benchmarks test-data test-engines test-install test-newest lint clean bench-peers docs types sbom

demo: $(READY)
	$(BIN)/steadyrank synthesize --rows 200000 --seed 1 --output $(DEMO)/log --overwrite
	$(BIN)/steadyrank run --config configs/demo.yaml --data $(DEMO)/log \
	    --output $(DEMO)/run --overwrite
	@echo
	@echo "The report: $$(find "$(CURDIR)/$(DEMO)/run" -name report.html)"

venv: $(READY)

help:
	@sed -n '/^#   make/s/^#   //p' "$(CURDIR)/Makefile"

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-benchmarks: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/benchmarks

test-data: $(READY)
	$(BIN)/python -m pytest tests/data

test-install: $(READY)
	$(BIN)/python -m pytest tests/install

test-engines: $(READY)
	$(BIN)/python -m benchmarks.engines $(ARGS)

test-newest: $(NEWEST)/ready
	$(NEWEST)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) $(TYPES)/ready
	$(TYPES)/bin/mypy --python-executable $(BIN)/python
	MYPY="$(CURDIR)/$(TYPES)/bin/mypy" $(BIN)/python -m pytest tests/test_types.py

docs: $(DOCS)/ready
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build
	@echo "The site: $(CURDIR)/build/site/index.html"

sbom: $(READY) $(SBOM)/ready
	@mkdir -p build
	$(SBOM)/bin/cyclonedx-py environment --output-reproducible --of JSON \
	    -o build/sbom.json "$(CURDIR)/$(BIN)/python"
	@echo "The bill of materials: $(CURDIR)/build/sbom.json"

bench-peers: $(READY) $(PEERS)/ready
	$(BIN)/python -m benchmarks.peers $(ARGS)

clean:
	rm -rf $(VENV) $(NEWEST) $(PEERS) $(DOCS) $(TYPES) $(SBOM) $(DEMO) build dist src/*.egg-info .pytest_cache .ruff_cache .hypothesis .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is newer than what it was installed from, or the install runs again.
$(READY): setup.py constraints.txt
	@VENV="$(VENV)" sh tools/venv.sh
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[test]"
	@touch $(READY)

$(NEWEST)/ready: setup.py constraints-tf221.txt
	@VENV="$(NEWEST)" sh tools/venv.sh
	STEADYRANK_TENSORFLOW=2.21 $(NEWEST)/bin/python -m pip install \
	    --disable-pip-version-check -c constraints-tf221.txt -e ".[test]"
	@touch $(NEWEST)/ready

$(SBOM)/ready:
	@VENV="$(SBOM)" sh tools/venv.sh
	$(SBOM)/bin/python -m pip install --disable-pip-version-check cyclonedx-bom==7.5.0
	@touch $(SBOM)/ready

$(PEERS)/ready: $(PEERS_NEED)
	@VENV="$(PEERS)" sh tools/venv.sh
	$(PEERS)/bin/python -m pip install --disable-pip-version-check -r $(PEERS_NEED)
	@touch $@

$(DOCS)/ready $(TYPES)/ready: .venv-%/ready: tools/%-requirements.txt
	@VENV=".venv-$*" sh tools/venv.sh
	.venv-$*/bin/python -m pip install --disable-pip-version-check -r $<
	@touch $@
