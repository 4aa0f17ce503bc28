# A newcomer's two commands: make quickstart, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAGE := build/typecheck
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

EDGE_VENV := .venv-edge
EDGE_BIN := $(EDGE_VENV)/bin
EDGE_FILES := $(CURDIR)/build/edge
# tflite-runtime 2.14.0 has no wheel for a later Python, kzoo takes no earlier one.
EDGE_PYTHON ?= $(shell command -v python3.11 || echo $(PYTHON))

REFERENCE_VENV := .venv-reference
REFERENCE_FILES := $(CURDIR)/build/reference

.PHONY: help quickstart test test-matrix test-edge test-reference test-web web-tools lint format typecheck bench docs lock clean

help:
	@echo "make quickstart  install, train resnet18 on digits, export int8, verify, benchmark"
	@echo "make test        the whole test suite"
	@echo "make test-matrix every model of the catalogue, built, saved and trained, then in every precision; make test takes a few"
	@echo "make test-edge   .tflite files on tflite-runtime, in an environment without TensorFlow (Python 3.11)"
	@echo "make test-reference  timm's networks against the zoo's with their weights; PyTorch in an environment of its own"
	@echo "make test-web    the web kit in headless Chromium (needs node and npm; make web-tools fetches LiteRT.js)"
	@echo "make lint        ruff; make format rewrites"
	@echo "make typecheck   mypy on the installed package"
	@echo "make bench       measure kzoo against its peers"
	@echo "make docs        the reference of the Python API, in build/docs"
	@echo "make lock        pin the dependencies anew (needs uv)"

# A stamp is older than a lock file that has changed since: then everything is installed again.
$(VENV)/run.stamp: requirements.lock setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] <= (3, 13) else "kzoo needs Python 3.11 to 3.13; name one with make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --requirement requirements.lock
	@# Without setuptools' lines on what an editable installation may shadow.
	PYTHONWARNINGS=ignore $(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements-dev.lock
	@# The lock is whole. mediapipe declares absl-py 2, TF-MOT absl-py 1; it is happy with that.
	$(PIP) install --no-deps --requirement requirements-dev.lock
	@touch $@

quickstart: $(VENV)/run.stamp
	PATH="$(CURDIR)/$(BIN):$$PATH" sh quickstart.sh

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n 2 --dist worksteal

# The cells of one model on one worker, which trains it once.
test-matrix: $(VENV)/dev.stamp
	KZOO_MATRIX=whole $(BIN)/python -m pytest -n 2 --dist loadgroup --durations=0 --durations-min=1 \
		tests/models/test_factories.py tests/matrix

$(EDGE_VENV)/stamp: requirements-edge.lock setup.cfg pyproject.toml
	$(EDGE_PYTHON) -c 'import sys; sys.exit(None if sys.version_info[:2] == (3, 11) else "tflite-runtime 2.14.0 needs Python 3.11 and this is %d.%d; name one with make test-edge EDGE_PYTHON=/path/to/python3.11" % sys.version_info[:2])'
	test -x $(EDGE_BIN)/python || $(EDGE_PYTHON) -m venv $(EDGE_VENV)
	$(EDGE_BIN)/python -m pip --quiet --disable-pip-version-check install --requirement requirements-edge.lock
	PYTHONWARNINGS=ignore $(EDGE_BIN)/python -m pip --quiet --disable-pip-version-check install --no-deps --no-build-isolation --editable .
	@touch $@

tests/web/node_modules/stamp: tests/web/package-lock.json
	npm ci --prefix tests/web --no-audit --no-fund
	@touch $@

# What the tests of the web kit skip without.
web-tools: tests/web/node_modules/stamp
	command -v chromium || command -v chromium-browser || command -v google-chrome || (echo "install Chromium, as with apt-get install chromium" >&2; false)

test-web: $(VENV)/dev.stamp web-tools
	$(BIN)/python -m pytest tests/export/test_kit_web.py

# The main environment makes the files and their answers; a device has only these.
test-edge: $(VENV)/dev.stamp $(EDGE_VENV)/stamp
	rm -rf $(EDGE_FILES)
	KZOO_EDGE_FILES=$(EDGE_FILES) $(BIN)/python -m pytest tests/edge
	KZOO_EDGE_FILES=$(EDGE_FILES) KZOO_EDGE_RUNTIME=tflite-runtime $(EDGE_BIN)/python -m pytest tests/edge

$(REFERENCE_VENV)/stamp: requirements-reference.lock
	test -x $(REFERENCE_VENV)/bin/python || $(PYTHON) -m venv $(REFERENCE_VENV)
	$(REFERENCE_VENV)/bin/python -m pip --quiet --disable-pip-version-check install --requirement requirements-reference.lock
	@touch $@

# timm writes tensors and answers; the main environment, which has no PyTorch, reads them.
test-reference: $(VENV)/dev.stamp $(REFERENCE_VENV)/stamp
	rm -rf $(REFERENCE_FILES)
	$(REFERENCE_VENV)/bin/python tests/reference/write_timm.py $(REFERENCE_FILES)
	KZOO_REFERENCE_FILES=$(REFERENCE_FILES) $(BIN)/python -m pytest tests/reference

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# On a staged install, since models/ and export/ become kzoo.models and kzoo.export only there.
typecheck: $(VENV)/dev.stamp
	rm -rf build
	$(PIP) install --no-deps --no-build-isolation --target $(STAGE) .
	cd $(STAGE) && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/setup.cfg --cache-dir $(CURDIR)/.mypy_cache -p kzoo

bench: $(VENV)/dev.stamp
	$(BIN)/python -m bench.training_step
	$(BIN)/python -m bench.training_profile
	$(BIN)/python -m bench.training_loop
	$(BIN)/python -m bench.export_matrix
	$(BIN)/python -m bench.export_peers
	$(BIN)/python -m bench.waiting
	$(BIN)/python -m bench.growth

docs: $(VENV)/dev.stamp
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python docs/build.py build/docs

lock:
	uv pip compile --universal --python-version 3.11 --no-header --no-annotate --constraint constraints.txt \
		setup.cfg --output-file requirements.lock
	uv pip compile --universal --python-version 3.11 --no-header --no-annotate --constraint constraints.txt \
		--constraint requirements.lock --override overrides.txt --extra dev --extra docs setup.cfg \
		--output-file requirements-dev.lock
	uv pip compile --python-version 3.11 --no-header --no-annotate tests/edge/requirements.in \
		--output-file requirements-edge.lock
	uv pip compile --python-version 3.11 --no-header --no-annotate --emit-index-url --index-strategy unsafe-best-match \
		tests/reference/requirements.in --output-file requirements-reference.lock

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
