# The one entry to everything. `make` alone prints this help.
# Whatever a target needs is installed into the checkout (.venv, balancer/target); nothing is written outside it,
# but for the outside judges (SIPp, tshark, Prometheus, Chromium), which `make test` installs with apt-get where it may.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
# The build backends of the members are commands of the environment.
export PATH := $(CURDIR)/$(BIN):$(PATH)
CARGO := cargo
CARGO_MANIFEST := --manifest-path balancer/Cargo.toml
RUST_SOURCES := $(shell find balancer/crates -name '*.rs' -o -name Cargo.toml 2>/dev/null) balancer/Cargo.toml balancer/Cargo.lock

.PHONY: help
help: ## Print this help
	@grep -hE '^[a-z][a-z0-9-]*:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# --- environment ----------------------------------------------------------------------------------------------

.PHONY: prerequisites
prerequisites:
	@tools/prerequisites "$(PYTHON)"

.venv/.requirements: requirements/dev.txt | prerequisites
	@echo "== Python environment in .venv"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

.venv/.python-members: .venv/.requirements api/pyproject.toml kube/pyproject.toml operator/pyproject.toml tests/simulator/pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e api -e kube -e operator -e tests/simulator
	@touch $@

.venv/.core: .venv/.python-members balancer/pyproject.toml $(RUST_SOURCES)
	@echo "== packet core (Rust; the first build takes a few minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e balancer
	@touch $@

.PHONY: build
build: .venv/.core ## Build everything into the checkout (.venv, balancer/target)

# --- use ------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: build ## Four simulated nodes, real calls, a live table; about a minute (DEMO_KEEP=1 leaves it up)
	@$(BIN)/python -m tests.demo

# First what computes, then what waits most of the time, three at once and the longest first; what puts a balancer under
# load has the machine to itself, at the end. Tests that share addresses on loopback belong to one target.
FAULTS := tests/judges/test_judge_continuity.py tests/judges/test_judge_states.py
.PHONY: test test-rust test-leak test-units test-judges test-sockets test-views test-faults test-load
test: build judges ## Every test: Rust, Python, real sockets, SIPp, tshark, Prometheus, a browser
	@$(MAKE) --jobs=2 --output-sync=target test-rust test-units test-leak
	@$(MAKE) --jobs=3 --output-sync=target test-judges test-sockets test-views test-faults
	@$(MAKE) test-load

test-rust: build
	@echo "== Rust: units, properties, deterministic simulation"
	@env -u MAKEFLAGS -u MFLAGS $(CARGO) test --quiet $(CARGO_MANIFEST) --workspace --locked

test-leak: build
	@echo "== a hundred thousand calls with every kind of failure: nothing is left of them"
	@env -u MAKEFLAGS -u MFLAGS $(CARGO) test --quiet $(CARGO_MANIFEST) --profile quick --package switchtender-proxy --test leak --locked

test-units: build
	@echo "== Python: documents, Kubernetes client, operator, contract, a day of calls"
	@$(BIN)/python -m pytest --quiet api/tests kube/tests operator/tests tests/contract tests/autoscaling tests/performance tests/scaling tests/test_claims.py tests/test_links.py

test-sockets: build
	@echo "== Python: the balancer on real sockets, the simulator"
	@$(BIN)/python -m pytest --quiet balancer/tests tests/simulator tests/pod tests/benefit tests/test_workspace.py

test-judges: build judges
	@echo "== the balancer as callers and nodes see it"
	@$(BIN)/python -m pytest --quiet tests/judges $(FAULTS:%=--ignore=%) -m "not load"

test-faults: build judges
	@echo "== nodes in trouble, and what becomes of calls that stand"
	@$(BIN)/python -m pytest --quiet $(FAULTS)

test-views: build judges
	@echo "== what people see of it: rules, dashboards, the live page"
	@$(BIN)/python -m pytest --quiet tests/views

test-load: build judges
	@echo "== the balancer under load"
	@$(BIN)/python -m pytest --quiet tests/judges -m load

# The outside judges are Debian packages. Without root they are skipped with a reason, and under CI=true they must be there.
.PHONY: judges
judges:
	@tools/judges

# Kubernetes is built from source once (6 to 10 minutes) and kept in the user's cache; Debian packages are installed
# where that is allowed. What cannot run is skipped with a reason, under E2E_REQUIRED=1 it fails.
.PHONY: e2e
e2e: build ## The product on a real Kubernetes (E2E_LEVEL=smoke or full, E2E_PROVIDER=…)
	@$(BIN)/python -m tests.e2e.tools.packages
	@PYTHON=$(BIN)/python tests/e2e/tools/build >/dev/null || [ $$? -eq 3 ]
	@echo "== end-to-end scenarios, level $${E2E_LEVEL:-smoke}"
	@$(BIN)/python -m pytest --quiet tests/e2e

.PHONY: bench-programs bench bench-core
bench-programs: build
	@$(CARGO) build --quiet --release $(CARGO_MANIFEST) --package switchtender-bench --package switchtender-python --locked

# A quarter of an hour on a machine with nothing else to do.
bench: bench-programs ## What a call costs, beside Kamailio and a bare forwarder (docs/performance.md)
	@$(BIN)/python -m tests.performance --programs "$${CARGO_TARGET_DIR:-balancer/target}/release" --json docs/performance.json --page docs/performance.md

# Only what is measured is built, for release: the figures are of what ships.
.PHONY: bench-instructions
bench-instructions: build judges ## Instructions of a call by callgrind, held to their bounds
	@echo "== instructions of a call"
	@$(CARGO) build --quiet --release $(CARGO_MANIFEST) --package switchtender-bench --bin core --bin sipload --locked
	@$(BIN)/python -m tests.performance.instructions --check --programs "$${CARGO_TARGET_DIR:-balancer/target}/release"

bench-core: build ## Time the packet core: parse, forward, select
	@$(CARGO) bench --quiet $(CARGO_MANIFEST) --package switchtender-bench --locked

.PHONY: bench-scrape
bench-scrape: build ## What a scrape of a balancer with 1,000 nodes costs, and whom it disturbs; a minute
	@$(BIN)/python -m tools.bench_scrape

# Half an hour: every scene through every balancer. The runs wait for calls to end, not for the CPU.
.PHONY: bench-benefit
bench-benefit: build ## What routing by reported load is worth: Kamailio and our algorithms on the same calls (docs/benefit.md)
	@$(BIN)/python -m tests.benefit --page docs/benefit.md

.PHONY: bench-autoscale
bench-autoscale: build ## A simulated day of calls: HPA on CPU and on sessions, and spec.autoscale, against the ideal (docs/autoscaling.md)
	@$(BIN)/python -m tests.autoscaling --page docs/autoscaling.md

# Five to ten minutes on one core; JOBS=2 uses two. With DERIVE=--derive the simulation stays, and it takes a second.
.PHONY: bench-scaling
bench-scaling: build ## What ten and a hundred balancers need, and choices on old reports (docs/scaling.md)
	@$(BIN)/python -m tests.scaling --jobs $${JOBS:-1} --page docs/scaling.md $(DERIVE)

# Two targets at a time, each for FUZZ_SECONDS (60), or with FUZZ_SEED the same runs everywhere;
# tools/fuzz runs those targets that it is given.
.PHONY: fuzz
fuzz: | prerequisites ## Fuzz messages, values, streams and the whole proxy (FUZZ_SECONDS=60 each)
	@tools/fuzz

.PHONY: dist
dist: .venv/.python-members ## Wheels and hashed requirements for the images, in dist/ (see deploy/images)
	@$(BIN)/python -m tools.dist

# --- checks ---------------------------------------------------------------------------------------------------

.PHONY: lint
lint: build verify ## ruff, mypy, import-linter, clippy, rustfmt, cargo-deny, stubtest, generated files
	@echo "== Python"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary api/src kube/src operator/src balancer/python tests/demo tests/stand tests/benefit tests/autoscaling tests/performance tests/scaling tools \
		tests/e2e/providers tests/e2e/tools tests/e2e/images tests/e2e/installation.py tests/e2e/voice.py tests/e2e/callers.py tests/e2e/switchboard.py tests/e2e/external_metrics.py tests/e2e/chart/rendering.py tests/e2e/chart/openapi.py
	@$(BIN)/mypy --no-error-summary -p switchtender_simulator
	@$(BIN)/lint-imports --no-cache | tail -n 1
	@$(BIN)/python -m mypy.stubtest switchtender._core | tail -n 1
	@echo "== Rust"
	@$(CARGO) fmt $(CARGO_MANIFEST) --all --check
	@$(CARGO) fmt --manifest-path balancer/fuzz/Cargo.toml --check
	@$(CARGO) clippy --quiet $(CARGO_MANIFEST) --workspace --all-targets --locked -- -D warnings
	@tools/cargo-deny

.PHONY: fmt
fmt: build ## Format Python and Rust
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format --quiet .
	@$(CARGO) fmt $(CARGO_MANIFEST) --all
	@$(CARGO) fmt --manifest-path balancer/fuzz/Cargo.toml

# --- generated files ------------------------------------------------------------------------------------------

.PHONY: generate
generate: build ## Write the generated files anew (JSON schemas, configuration reference)
	@$(BIN)/python -m tools.generate

.PHONY: verify
verify: build ## Fail when a generated file is stale, or a page names a test or a file that does not exist
	@$(BIN)/python -m tools.generate --check
	@$(BIN)/python -m tools.claims
	@$(BIN)/python -m tools.links

.PHONY: lock
lock: | prerequisites ## Resolve the pinned Python requirements anew (hashes, no registry addresses)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
		--no-emit-package switchtender --no-emit-package switchtender-api --no-emit-package switchtender-kube --no-emit-package switchtender-operator --no-emit-package switchtender-simulator \
		requirements/dev.in -o requirements/dev.txt
	@for member in balancer operator simulator; do $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
		--no-emit-package switchtender --no-emit-package switchtender-api --no-emit-package switchtender-kube --no-emit-package switchtender-operator --no-emit-package switchtender-simulator \
		-c requirements/dev.txt requirements/$$member.in -o requirements/$$member.txt; done

.PHONY: clean
clean: ## Remove what was built
	@rm -rf .venv balancer/target .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
