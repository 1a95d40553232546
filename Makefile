# Everything works on a fresh machine with Python 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/pytest -n 2 --dist loadgroup
STAMP := $(VENV)/.ready
ICP := tests/e2e/judges/node_modules/@icp-sdk/icp-cli-linux-x64/bin/icp

.PHONY: dev build serve-release install-extension demo lint test test-slow test-build bench bench-quick judges judge-dfx lock clean

dev: $(STAMP)

$(STAMP): pyproject.toml requirements/dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --no-deps --config-settings editable_mode=compat --editable .
	touch $@

# Wheel, sdist and the archives that dfx installs, below build/release; docs/releasing.md tells the rest.
build:
	$(PYTHON) scripts/build_release.py

# Only what `make test-slow` tests of a build.
test-build: $(STAMP) build
	$(PYTEST) -m slow tests/e2e/test_built_archive.py tests/e2e/test_built_packages.py \
	  tests/e2e/test_built_extension.py

serve-release:
	$(PYTHON) scripts/serve-release

install-extension:
	test -d build/release || $(MAKE) build
	$(PYTHON) scripts/install_extension.py

demo: $(STAMP)
	$(BIN)/python scripts/demo.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python scripts/check_sizes.py

test: $(STAMP)
	$(PYTEST) -m "not slow"

test-slow: $(STAMP)
	$(PYTEST) -m slow

# Snapshot transfers side by side with icp; benchmarks/README.md tells what is measured.
bench: $(STAMP) $(ICP)
	$(BIN)/python -m benchmarks

bench-quick: $(STAMP) $(ICP)
	$(BIN)/python -m benchmarks --quick

$(ICP):
	$(MAKE) judges

# The programs that nobody here wrote: the icp binary, the JavaScript agent, the Motoko compiler.
judges:
	npm ci --prefix tests/e2e/judges --no-audit --no-fund

# dfx's own code for extensions, and clap's: a few minutes of cargo, once.
judge-dfx:
	for crate in dfx-core clap-oldest; do \
	  cargo build --quiet --locked --jobs 2 --manifest-path tests/e2e/judges/$$crate/Cargo.toml || exit; \
	done

# New versions of everything that is pinned.
lock: $(STAMP)
	$(BIN)/pip-compile --quiet --upgrade --strip-extras --generate-hashes --no-header --no-emit-index-url \
	  --no-emit-find-links --allow-unsafe --all-extras --output-file requirements/dev.txt pyproject.toml
	$(BIN)/pip-compile --quiet --upgrade --strip-extras --generate-hashes --no-header --no-emit-index-url \
	  --no-emit-find-links --allow-unsafe --extra keyring --extra replica --extra s3 \
	  --constraint requirements/dev.txt --output-file requirements/build.txt requirements/build.in pyproject.toml

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
